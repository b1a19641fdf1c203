//! What the C library's allocator is told, for a process that runs for months with few blocks, some of them very large.
//! glibc only; elsewhere nothing is told.

/// From this size on a block is a mapping of its own, which goes back to the system when it is freed. Fixed, because glibc
/// else raises it to the largest block that was ever freed, and from then on keeps holes of that size. Above a Full HD
/// picture of rgb8 (6.2 MB): pages that are new for every frame cost more than the frame's copy.
#[cfg(target_env = "gnu")]
const MAPPED_FROM_BYTES: i32 = 8 << 20;
/// What may stay free at the end of an arena; below it, freeing costs nothing.
#[cfg(target_env = "gnu")]
const SPARE_BYTES: i32 = 16 << 20;

/// How many arenas there are: of a second one malloc_trim(3) leaves the end as it is, up to [`SPARE_BYTES`], and a model that was
/// let go may lie there. Threads wait for each other: not measurably, for what takes turns here are some hundred blocks a second.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 1;

/// Sets the allocator up. At the start of the process, before there are threads.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "a function of the C library that takes numbers only")]
    // SAFETY: mallopt(3) changes the allocator's own settings; there is one thread. Refused, nothing has changed.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, SPARE_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives the system back what was freed; glibc would hold on to pieces between blocks that stay for as long as the process
/// lives. Takes some milliseconds.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "a function of the C library that takes numbers only")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread, and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The last field of what holds much memory: gives back what the fields before it held, once they are freed.
#[derive(Debug)]
pub(crate) struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        give_back();
    }
}
