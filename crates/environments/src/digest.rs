//! SHA-256 digests of files and bytes.

use std::{fmt, fs::File, io, io::Read, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 digits, enough to name a file.
    pub fn short(&self) -> &str {
        self.0.get(..16).unwrap_or(&self.0)
    }

    fn of(hash: &[u8]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digest of `bytes`.
pub fn sha256_of(bytes: &[u8]) -> Digest {
    Digest::of(&Sha256::digest(bytes))
}

/// Digest of the whole file; `seen` hears of every chunk's size in bytes and may stop the reading.
pub(crate) fn sha256_of_file(
    path: &Path,
    mut seen: impl FnMut(usize) -> io::Result<()>,
) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(Digest::of(&hash.finalize()));
        }
        hash.update(&chunk[..length]);
        seen(length)?;
    }
}
