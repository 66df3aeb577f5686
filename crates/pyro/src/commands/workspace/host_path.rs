//! Paths on the host. The daemon has another working directory than whoever names a path, so it gets absolute ones.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use pyro_api::{ErrorBody, ErrorCode, text::ByteString};

/// The path, absolute. Links in it stay as they are.
pub(super) fn absolute(path: &Path) -> Result<ByteString, ErrorBody> {
    absolute_path(path).map(|path| ByteString(path.as_os_str().as_bytes().to_vec()))
}

/// The path, absolute, of something that is there.
pub(super) fn existing(path: &Path) -> Result<ByteString, ErrorBody> {
    std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    absolute(path)
}

/// A file of the caller's cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::FileFailed, format!("cannot read {}: {error}", path.display()))
}

fn absolute_path(path: &Path) -> Result<PathBuf, ErrorBody> {
    std::path::absolute(path).map_err(|error| {
        ErrorBody::new(ErrorCode::FileFailed, format!("cannot find {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root() {
        assert!(absolute(Path::new("a")).unwrap().0.starts_with(b"/"));
        assert_eq!(absolute(Path::new("/a b")).unwrap(), "/a b".into());
        for missing in ["", "/nonexistent/x"] {
            assert_eq!(existing(Path::new(missing)).unwrap_err().code, ErrorCode::FileFailed);
        }
    }
}
