//! Fuzzes the files of other programs that write sysctls.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cttune::internals::fuzz::writers(data));
