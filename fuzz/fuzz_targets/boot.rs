//! Fuzzes what loads the module and with which options.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| cttune::internals::fuzz::boot(data));
