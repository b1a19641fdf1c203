//! Covers: src/memory.rs. Without the test harness, whose threads would have arenas before the allocator is set up.

#![allow(clippy::unwrap_used)]

#[cfg(not(target_env = "gnu"))]
fn main() {
    println!("tests/memory.rs: nothing to test, for only glibc's allocator is told anything");
}

/// What a thread has freed goes back to the system, also from the end of what the allocator holds.
#[cfg(target_env = "gnu")]
fn main() {
    use looptrans_ros::memory;

    /// Smaller than what is a mapping of its own, and together less than what may stay free.
    const BLOCK_BYTES: usize = 1 << 20;
    const BLOCKS: usize = 12;

    memory::settle();
    let before = anonymous_kib();
    let working = std::thread::spawn(|| {
        let blocks: [Vec<u8>; BLOCKS] = std::array::from_fn(|_| vec![1; BLOCK_BYTES]);
        let held = anonymous_kib();
        drop(std::hint::black_box(blocks));
        held
    });
    let held = working.join().unwrap();
    memory::give_back();
    let after = anonymous_kib();
    let all_kib = BLOCKS * BLOCK_BYTES / 1024;
    assert!(held >= before + all_kib * 7 / 8, "{before} {held} KiB");
    assert!(after < before + all_kib / 8, "{before} {held} {after} KiB");
    println!("tests/memory.rs: {before} KiB before, {held} with the blocks, {after} after");
}

#[cfg(target_env = "gnu")]
fn anonymous_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
