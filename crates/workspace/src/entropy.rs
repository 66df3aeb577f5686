//! Randomness from the host's kernel.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills all of `bytes`.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A name that nobody guesses and nothing else has: so many random bytes, as two hexadecimal digits each.
pub(crate) fn token<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
