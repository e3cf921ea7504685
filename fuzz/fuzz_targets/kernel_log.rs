//! Fuzzes records of the kernel log.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cttune::internals::fuzz::kernel_log(text));
