//! See `entry::guest_receive`.
#![no_main]

// Shared with the test that runs it on mutated inputs; each target uses one function of it.
#[allow(dead_code, reason = "each target uses one entry point of several")]
#[path = "../../crates/protocol/tests/hostile/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| entry::guest_receive(input));
