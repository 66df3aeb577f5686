//! See `entry::patch_parse`.
#![no_main]

// Shared with the test that runs it on mutated inputs, which uses the seeds too.
#[allow(dead_code, reason = "a target has its seeds from its corpus")]
#[path = "../../crates/patch/tests/hostile/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| entry::patch_parse(input));
