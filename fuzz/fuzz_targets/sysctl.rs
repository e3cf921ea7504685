//! Fuzzes a file of sysctl.d, as both readers see it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cttune::internals::fuzz::sysctl(data));
