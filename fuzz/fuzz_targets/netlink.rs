//! Fuzzes the messages of a dump: flows and their attributes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cttune::internals::fuzz::netlink(data));
