//! libtorch's generator of random numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sets it to a seed. While the guard is held no other network draws its initial values: libtorch has one generator for
/// all threads.
pub(super) fn seeded(seed: u64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let mine = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    mine
}
