#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| accel_fuzz_targets::run("nydus_index", bytes));
