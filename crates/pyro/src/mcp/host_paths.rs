//! Which files of the host a model may name: those below the directories that whoever started the server has allowed.
//!
//! Links are resolved before anything is compared, and what is handed on is the resolved path, so that a link that leads
//! out cannot be named and one that is changed later is not followed.

use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use pyro_api::{ErrorBody, ErrorCode, text::ByteString};

/// The directories that are allowed.
#[derive(Clone, Debug)]
pub(crate) struct HostPaths {
    allowed: Vec<PathBuf>,
    /// What relative paths are relative to.
    base: PathBuf,
}

impl HostPaths {
    /// Those directories, or the one that this program was started in.
    pub(crate) fn allowing(directories: &[PathBuf]) -> Result<Self, ErrorBody> {
        let resolve = |path: &Path| {
            path.canonicalize().map_err(|error| {
                ErrorBody::new(ErrorCode::FileFailed, format!("cannot allow {}: {error}", path.display()))
            })
        };
        let base = resolve(Path::new("."))?;
        let allowed = match directories {
            [] => vec![base.clone()],
            some => some.iter().map(|path| resolve(path)).collect::<Result<_, _>>()?,
        };
        Ok(Self { allowed, base })
    }

    /// A file or a directory that is there.
    pub(super) fn existing(&self, path: &str) -> Result<ByteString, ErrorBody> {
        self.below_allowed(path, resolved(&self.base.join(path))?)
    }

    /// A place where something may be written; what is above it is there.
    pub(super) fn writable(&self, path: &str) -> Result<ByteString, ErrorBody> {
        let wanted = self.base.join(path);
        // A link that is there already, even one that leads nowhere, is followed by whoever writes.
        if wanted.symlink_metadata().is_ok() {
            return self.below_allowed(path, resolved(&wanted)?);
        }
        let (Some(parent), Some(name)) = (wanted.parent(), wanted.file_name()) else {
            return Err(refused(path, &self.allowed));
        };
        if name == OsStr::new("..") {
            return Err(refused(path, &self.allowed));
        }
        self.below_allowed(path, resolved(parent)?.join(name))
    }

    fn below_allowed(&self, path: &str, resolved: PathBuf) -> Result<ByteString, ErrorBody> {
        if self.allowed.iter().any(|allowed| resolved.starts_with(allowed)) {
            return Ok(ByteString(resolved.into_os_string().into_vec()));
        }
        Err(refused(path, &self.allowed))
    }
}

fn resolved(path: &Path) -> Result<PathBuf, ErrorBody> {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(ErrorBody::new(ErrorCode::InvalidRequest, "a path contains a NUL byte"));
    }
    path.canonicalize().map_err(|error| {
        ErrorBody::new(ErrorCode::FileFailed, format!("cannot find {} on the host: {error}", path.display()))
            .with_work_started(false)
    })
}

fn refused(path: &str, allowed: &[PathBuf]) -> ErrorBody {
    let directories: Vec<String> = allowed.iter().map(|path| path.display().to_string()).collect();
    ErrorBody::new(ErrorCode::Forbidden, format!("{path:?} is not below an allowed directory of the host"))
        .with_hint(format!(
            "allowed: {}; the user can allow more with --allow-path when starting the server",
            directories.join(", ")
        ))
        .with_work_started(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn code(checked: Result<ByteString, ErrorBody>) -> Option<ErrorCode> {
        checked.err().map(|error| error.code)
    }

    #[test]
    fn only_what_is_below_an_allowed_directory_can_be_named() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("inside");
        let outside = root.path().join("outside");
        std::fs::create_dir_all(inside.join("a")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret"), "x").unwrap();
        symlink(&outside, inside.join("leads_out")).unwrap();
        symlink(outside.join("new"), inside.join("dangling")).unwrap();
        symlink(inside.join("a"), outside.join("leads_in")).unwrap();
        let paths = HostPaths::allowing(std::slice::from_ref(&inside)).unwrap();
        let path = |relative: &str| root.path().join(relative).to_str().unwrap().to_owned();

        assert!(paths.existing(&path("inside/a")).is_ok());
        assert_eq!(
            paths.existing(&path("outside/leads_in")).unwrap().0,
            inside.join("a").canonicalize().unwrap().as_os_str().as_bytes()
        );
        assert!(paths.writable(&path("inside/a/new")).is_ok());
        for bad in
            ["outside", "outside/secret", "inside/leads_out", "inside/leads_out/secret", "inside/../outside"]
        {
            assert_eq!(code(paths.existing(&path(bad))), Some(ErrorCode::Forbidden), "{bad}");
        }
        for bad in ["outside/new", "inside/leads_out/new", "inside/../new", "inside/.."] {
            assert_eq!(code(paths.writable(&path(bad))), Some(ErrorCode::Forbidden), "{bad}");
        }
        assert!(paths.writable(&path("inside/dangling")).is_err());
        assert_eq!(code(paths.existing(&path("inside/missing"))), Some(ErrorCode::FileFailed));
        assert_eq!(code(paths.existing("a\0b")), Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_sibling_with_the_same_beginning_is_outside() {
        let root = tempfile::tempdir().unwrap();
        for name in ["src", "src2"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let paths = HostPaths::allowing(&[root.path().join("src")]).unwrap();
        let sibling = root.path().join("src2");
        assert_eq!(code(paths.existing(sibling.to_str().unwrap())), Some(ErrorCode::Forbidden));
    }
}
