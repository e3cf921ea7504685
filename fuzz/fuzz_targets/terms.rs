//! Fuzzes the terms of --match and --keep, and the fields of --by.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cttune::internals::fuzz::terms(text));
