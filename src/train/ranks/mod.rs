//! The processes of one training run. Each computes its slice of every step's samples; what they have to tell each other
//! goes through [`Ranks`].
//!
//! ```text
//! samples of a step -> slice of each rank -> losses, batch statistics of all (joint) -> gradients, summed -> the same step
//! ```
//!
//! One process is the rule; several are started by `mpirun` and need the feature `distributed`.

pub(super) mod joint;
#[cfg(feature = "distributed")]
mod world;

use std::{
    env, fmt, mem,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    thread,
    time::Duration,
};

use super::TrainError;

/// How long a failed rank waits for rank 0 to fail with the same: longer than `mpirun` takes to end a rank.
const AFTER_RANK_0: Duration = Duration::from_secs(3);

/// A process among those on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
}

/// All processes of a run, which call the same functions in the same order; each call waits for all.
pub trait Ranks: fmt::Debug {
    /// This process, counted from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn size(&self) -> usize;
    /// Among the processes on this machine.
    fn place(&self) -> Place;
    /// Each value becomes its sum over all ranks: the same bits on every rank.
    fn sum(&self, values: &mut [f32]);
    /// Every rank's values, as many from each, in order of the ranks.
    fn gather(&self, own: &[f64]) -> Vec<f64>;

    /// Rank 0 alone writes files and talks to people.
    fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// Is it true on any rank?
    fn any(&self, here: bool) -> bool {
        self.gather(&[f64::from(u8::from(here))]).iter().any(|there| *there > 0.0)
    }

    /// This rank's part of so many things in a row; as many for each rank as can be.
    fn slice(&self, count: usize) -> Range<usize> {
        let start = |rank: usize| rank * count / self.size();
        start(self.rank())..start(self.rank() + 1)
    }
}

/// One process.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn place(&self) -> Place {
        Place { rank: 0, size: 1 }
    }

    fn sum(&self, _: &mut [f32]) {}

    fn gather(&self, own: &[f64]) -> Vec<f64> {
        own.to_vec()
    }
}

/// How many processes a launcher started beside this one, itself included: Open MPI's, or MPICH's and Intel's.
pub fn launched() -> usize {
    let said = |name| env::var(name).ok()?.parse().ok();
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].into_iter().find_map(said).unwrap_or(1)
}

/// Meets the other processes, if there are any.
///
/// # Errors
/// There are others that can't be met.
pub fn join() -> Result<Box<dyn Ranks>, TrainError> {
    match launched() {
        0 | 1 => Ok(Box::new(Alone)),
        others => join_others(others),
    }
}

/// Does what all ranks do together. Where it fails here, by an error or a panic (as libtorch's out of memory is), no leave is
/// taken of the others, which may be waiting for this one: it would wait for them. `mpirun` ends them when this process ends.
///
/// # Errors
/// Those of `work`.
pub fn together<T, E>(ranks: Box<dyn Ranks>, work: impl FnOnce(&dyn Ranks) -> Result<T, E>) -> Result<T, E> {
    let done = panic::catch_unwind(AssertUnwindSafe(|| work(&*ranks)));
    if !matches!(done, Ok(Ok(_))) && ranks.size() > 1 {
        if !ranks.leads() {
            // What fails on all ranks is to be said by one.
            thread::sleep(AFTER_RANK_0);
        }
        mem::forget(ranks);
    }
    done.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

#[cfg(feature = "distributed")]
fn join_others(launched: usize) -> Result<Box<dyn Ranks>, TrainError> {
    Ok(Box::new(world::World::join(launched)?))
}

#[cfg(not(feature = "distributed"))]
fn join_others(launched: usize) -> Result<Box<dyn Ranks>, TrainError> {
    Err(TrainError::Values {
        what: "mpirun",
        expected: "a looptrans built with --features distributed, or one process".to_owned(),
        found: format!("{launched} processes of one built without, which would overwrite each other's run"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Rank 0 of two, which notes that it takes leave.
    #[derive(Debug)]
    struct Leaving(Arc<AtomicBool>);

    impl Ranks for Leaving {
        fn rank(&self) -> usize {
            0
        }

        fn size(&self) -> usize {
            2
        }

        fn place(&self) -> Place {
            Place { rank: 0, size: 2 }
        }

        fn sum(&self, _: &mut [f32]) {}

        fn gather(&self, own: &[f64]) -> Vec<f64> {
            own.repeat(2)
        }
    }

    impl Drop for Leaving {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn leave_is_taken_of_the_others_only_where_all_went_well() {
        let took_leave = |work: fn() -> Result<(), ()>| {
            let left = Arc::new(AtomicBool::new(false));
            let ranks = Box::new(Leaving(left.clone()));
            let _ = panic::catch_unwind(|| together(ranks, |_| work()));
            left.load(Ordering::SeqCst)
        };
        assert!(took_leave(|| Ok(())));
        assert!(!took_leave(|| Err(())));
        assert!(!took_leave(|| panic!("as libtorch's out of memory")));
    }
}
