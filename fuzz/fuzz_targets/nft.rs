//! Fuzzes the rules that nft and iptables-save print.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| cttune::internals::fuzz::nft(data));
