//! Fuzzes /proc/net/stat/nf_conntrack.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cttune::internals::fuzz::counters(text));
