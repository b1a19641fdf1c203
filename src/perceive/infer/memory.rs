//! Memory that loading leaves behind.

/// Gives the system back what was freed. A load frees more than the model keeps, in pieces between blocks that stay, and
/// glibc would hold on to these pieces for as long as the process lives.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "a function of the C library that takes no pointers")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread, and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
