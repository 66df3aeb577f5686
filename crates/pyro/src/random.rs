//! Words that nobody guesses, from the host's kernel.

use std::{fs::File, io::Read as _};

use pyro_api::{ErrorBody, ErrorCode};

/// Bytes of a word.
const BYTES: usize = 16;

/// A word that no other call gives: 32 hexadecimal digits.
///
/// # Errors
/// `host_requirement`, where there is no `/dev/urandom`.
pub(crate) fn word() -> Result<String, ErrorBody> {
    let mut bytes = [0_u8; BYTES];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(|error| {
        ErrorBody::new(ErrorCode::HostRequirement, format!("cannot read /dev/urandom: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
