//! [`SealKey`]: the secret of a store, with which journals in directories of the host and the memory of machines are sealed.
//!
//! Whoever may write into such a directory, or have it cloned or unpacked there, could otherwise leave a journal that moves and
//! removes whatever its owner may. The key lies in the state directory, made once, readable by its owner alone. Without it, or
//! with another one, journals that were sealed before are refused, and kept memory cannot be read any more.
//!
//! Nothing is encrypted with the key itself. [`SealKey::derive`] makes one key for each file of an intermediate key that is a tag of
//! its own purpose; what is tagged for journals begins with another one, so no tag that lies in a directory of the host is ever it.

use std::{
    fmt,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use pyro_tree::transaction::Tag;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::Sha256;

use crate::entropy;

const KEY_BYTES: usize = 32;

/// What the intermediate key of all derived ones is the tag of.
const DERIVATION: &[u8] = b"keys derived for files";

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the key `{}`", path.display())]
pub(crate) struct SealKeyError {
    /// Its file.
    pub(crate) path: PathBuf,
    /// Why not.
    pub(crate) source: io::Error,
}

/// Can be used, but neither printed nor compared.
pub(crate) struct SealKey([u8; KEY_BYTES]);

/// A key for one purpose and one thing. It cannot be printed either.
pub(crate) struct DerivedKey([u8; KEY_BYTES]);

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey")
    }
}

impl DerivedKey {
    /// What ciphers take.
    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// HMAC-SHA256 with it, to be cloned for each thing that is tagged.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        keyed(&self.0)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

impl SealKey {
    /// The key in the file at `path`, which is made if it is missing. Blocks.
    pub(crate) fn of(path: &Path) -> Result<Self, SealKeyError> {
        let key = match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::make(path).and_then(|()| Self::read(path))
            }
            read => read,
        };
        key.map_err(|source| SealKeyError { path: path.to_owned(), source })
    }

    fn read(path: &Path) -> io::Result<Self> {
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
        let mut bytes = Vec::new();
        // One more than there should be is enough to know.
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        match <[u8; KEY_BYTES]>::try_from(bytes) {
            Ok(key) => Ok(Self(key)),
            Err(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("it does not have {KEY_BYTES} bytes")))
            }
        }
    }

    /// Makes the file appear whole. Somebody may be faster, and then it is theirs.
    fn make(path: &Path) -> io::Result<()> {
        let mut key = [0; KEY_BYTES];
        entropy::fill(&mut key)?;
        if let Some(above) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        }
        let draft = path.with_extension(format!("draft-{}", entropy::token::<8>()?));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let made = file.write_all(&key).and_then(|()| file.sync_all()).and_then(|()| {
            match renameat_with(CWD, &draft, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => path.parent().map_or(Ok(()), |above| fs::File::open(above)?.sync_all()),
                Err(rustix::io::Errno::EXIST) => fs::remove_file(&draft),
                Err(errno) => Err(errno.into()),
            }
        });
        if made.is_err() {
            // What was wrong first is what is told.
            let _removed = fs::remove_file(&draft);
        }
        made
    }

    /// The tag of some parts, each ended, so that no two sequences of parts are alike.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> Tag {
        self.mac(parts).finalize().into_bytes().into()
    }

    /// Whether it is their tag. Takes as long whether it is or not.
    pub(crate) fn holds(&self, parts: &[&[u8]], tag: &Tag) -> bool {
        self.mac(parts).verify_slice(tag).is_ok()
    }

    /// A key of its own for this purpose, salt and context: whoever has it knows nothing of the others, nor of the secret.
    pub(crate) fn derive(&self, purpose: &[u8], salt: &[u8; KEY_BYTES], context: &[u8]) -> DerivedKey {
        let mut info = (purpose.len() as u64).to_be_bytes().to_vec();
        info.extend_from_slice(purpose);
        info.extend_from_slice(context);
        DerivedKey(hkdf(salt, &self.tag(&[DERIVATION]), &info))
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = keyed(&self.0);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// HMAC with a key of at most a block of the digest, which is filled up with zeros as HMAC has it.
fn keyed(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..KEY_BYTES].copy_from_slice(key);
    Hmac::<Sha256>::new(&block.into())
}

/// The first block of HKDF-SHA256 (RFC 5869), which is as long as a key.
fn hkdf(salt: &[u8; KEY_BYTES], secret: &[u8], info: &[u8]) -> [u8; KEY_BYTES] {
    let extracted = keyed(salt).chain_update(secret).finalize().into_bytes().into();
    keyed(&extracted).chain_update(info).chain_update([1]).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const PARTS: [&[u8]; 2] = [b"one", b"two"];

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seal.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| SealKey::of(&path).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let tag = keys[0].tag(&PARTS);
        assert!(keys.iter().all(|key| key.holds(&PARTS, &tag)));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left");
        let about = fs::metadata(&path).unwrap();
        assert_eq!((about.permissions().mode() & 0o777, about.len()), (0o600, 32));
        assert!(!keys[0].holds(&[b"onet", b"wo"], &tag), "parts are told apart");
        assert_eq!(format!("{:?}", keys[0]), "SealKey");
        fs::remove_file(&path).unwrap();
        assert!(!SealKey::of(&path).unwrap().holds(&PARTS, &tag), "a new one is another one");
    }

    #[test]
    fn the_tag_is_hmac_sha256() {
        // By another implementation, of the lengths and the parts:
        // python3 -c "import hmac; print(hmac.new(bytes(range(32)), bytes(7) + b'\x03one' + bytes(7) + b'\x03two', 'sha256').hexdigest())"
        let key = SealKey(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        let text: String = key.tag(&PARTS).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "a698cbb88b346b86f7efa009450d380caf929a1d1ef11f76e987f2c554db3af8");
    }

    #[test]
    fn what_is_no_key_is_not_used_and_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seal.key");
        for bad in [b"".as_slice(), &[1; 31], &[1; 33]] {
            fs::write(&path, bad).unwrap();
            let refused = SealKey::of(&path).unwrap_err();
            assert_eq!(refused.path, path);
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
        fs::write(home.path().join("elsewhere"), [1; 32]).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("elsewhere", &path).unwrap();
        SealKey::of(&path).unwrap_err();
    }

    #[test]
    fn derived_keys_are_hkdf_sha256_of_a_tag_of_their_own() {
        // RFC 5869, test case 3, which has no salt: that is the same as zeros. The first 32 of its 42 bytes.
        let text: String =
            hkdf(&[0; 32], &[0x0b; 22], b"").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
        // Test case 1, whose salt is shorter than ours: HMAC fills it up with zeros as well.
        let salt = std::array::from_fn(|index| u8::try_from(index).unwrap() * u8::from(index < 13));
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let text: String = hkdf(&salt, &[0x0b; 22], &info).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");

        let key = SealKey([7; 32]);
        let one = key.derive(b"purpose", &[1; 32], b"context");
        assert_eq!(one.bytes(), key.derive(b"purpose", &[1; 32], b"context").bytes());
        for other in [
            key.derive(b"purposec", &[1; 32], b"ontext"),
            key.derive(b"purpose", &[2; 32], b"context"),
            key.derive(b"purpose", &[1; 32], b"other"),
            SealKey([8; 32]).derive(b"purpose", &[1; 32], b"context"),
        ] {
            assert_ne!(one.bytes(), other.bytes());
        }
        assert_eq!(format!("{one:?}"), "DerivedKey");
    }
}
