//! Fuzzes a profile, and the report of its mistakes.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cttune::internals::fuzz::profile(text));
