//! Fuzzes the messages about timeout policies and the rules that attach them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cttune::internals::fuzz::rules(data));
