//! Paths on the host. The daemon has another working directory than whoever names a path, so it gets absolute ones. `~`
//! is the home directory also where no shell made it that, as in `--seed-path=~/repo`; `./~` is a file of that name.

use std::{
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use pyro_api::{ErrorBody, ErrorCode, text::ByteString};

use crate::settings;

/// The path, absolute. Links in it stay as they are.
pub(super) fn absolute(path: &Path) -> Result<ByteString, ErrorBody> {
    absolute_path(path).map(|path| ByteString(path.as_os_str().as_bytes().to_vec()))
}

/// The path, absolute, of something that is there.
pub(super) fn existing(path: &Path) -> Result<ByteString, ErrorBody> {
    let path = absolute_path(path)?;
    std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
    Ok(ByteString(path.into_os_string().into_vec()))
}

/// A file of the caller's cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::FileFailed, format!("cannot read {}: {error}", path.display()))
}

fn absolute_path(path: &Path) -> Result<PathBuf, ErrorBody> {
    let home = settings::environment("HOME").map(PathBuf::from);
    let path = from_home(path, home.as_deref());
    std::path::absolute(&path).map_err(|error| {
        ErrorBody::new(ErrorCode::FileFailed, format!("cannot find {}: {error}", path.display()))
    })
}

/// The path with the home directory in the place of a leading `~`.
fn from_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) if below.as_os_str().is_empty() => home.to_owned(),
        (Ok(below), Some(home)) => home.join(below),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_tilde_is_the_home_directory() {
        let home = Some(Path::new("/home/a"));
        for (path, meant) in [
            ("~", "/home/a"),
            ("~/repo", "/home/a/repo"),
            ("./~", "./~"),
            ("~b/repo", "~b/repo"),
            ("/x/~", "/x/~"),
        ] {
            assert_eq!(from_home(Path::new(path), home).as_os_str(), meant);
        }
        assert_eq!(from_home(Path::new("~/x"), None), Path::new("~/x"));
    }

    #[test]
    fn paths_begin_at_the_root() {
        assert!(absolute(Path::new("a")).unwrap().0.starts_with(b"/"));
        assert_eq!(absolute(Path::new("/a b")).unwrap(), "/a b".into());
        for missing in ["", "/nonexistent/x"] {
            assert_eq!(existing(Path::new(missing)).unwrap_err().code, ErrorCode::FileFailed);
        }
    }
}
