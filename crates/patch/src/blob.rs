//! Names of blobs as they stand in `index` lines, so that `git apply --3way` can find what a patch was made from.

use sha1::{Digest, Sha1};

/// What git writes for a side that is absent.
pub(crate) const ABSENT: &str = "0000000";

/// The first seven digits of git's name for that content.
pub(crate) fn abbreviated(content: &[u8]) -> String {
    let [a, b, c, d, ..] = digest(content);
    let mut name = format!("{:08x}", u32::from_be_bytes([a, b, c, d]));
    name.pop();
    name
}

/// Git's name for that content.
pub(crate) fn digest(content: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn blobs_have_the_names_git_gives_them() {
        assert_eq!(super::abbreviated(b""), "e69de29");
        assert_eq!(super::abbreviated(b"hello\n"), "ce01362");
    }
}
