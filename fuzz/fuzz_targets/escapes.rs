//! Fuzzes the writer's escapes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| cttune::internals::fuzz::escapes(data));
