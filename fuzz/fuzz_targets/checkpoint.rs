#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| looptrans_ros_fuzz::checkpoint(bytes));
