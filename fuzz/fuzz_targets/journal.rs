//! Fuzzes a record of the journal and its state.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cttune::internals::fuzz::journal(data));
