//! Finds the file of a program as a shell would, so that "not found" and "not executable" are known by name
//! and not guessed from an error of exec.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why there is no program to run.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Missing {
    /// No such file, here or on the PATH.
    NotFound,
    /// A file is there and nobody may execute it, or it is a directory.
    NotExecutable,
}

/// Looks `program` up: with a slash, relative to `directory`; without, in the directories of `path`, where
/// an empty one is `directory`.
pub fn find(program: &[u8], path: &[u8], directory: &Path) -> Result<PathBuf, Missing> {
    if program.contains(&b'/') {
        let file = directory.join(OsStr::from_bytes(program));
        return examine(&file).map(|()| file);
    }
    let mut outcome = Missing::NotFound;
    for entry in path.split(|byte| *byte == b':') {
        let file = directory.join(OsStr::from_bytes(entry)).join(OsStr::from_bytes(program));
        match examine(&file) {
            Ok(()) if !program.is_empty() => return Ok(file),
            Ok(()) => {}
            // A directory of the program's name on the PATH is no program, a plain file may have been meant.
            Err(Missing::NotExecutable) if file.is_file() => outcome = Missing::NotExecutable,
            Err(_) => {}
        }
    }
    Err(outcome)
}

fn examine(file: &Path) -> Result<(), Missing> {
    let metadata = file.metadata().map_err(|_| Missing::NotFound)?;
    let executable = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    if executable { Ok(()) } else { Err(Missing::NotExecutable) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn directory_with(name: &str, mode: u32) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        directory
    }

    #[test]
    fn the_first_executable_on_the_path_wins_over_an_earlier_plain_file() {
        let plain = directory_with("tool", 0o644);
        let right = directory_with("tool", 0o755);
        let path = format!("/nonexistent:{}:{}", plain.path().display(), right.path().display());
        assert_eq!(find(b"tool", path.as_bytes(), Path::new("/")), Ok(right.path().join("tool")));
    }

    #[test]
    fn a_plain_file_alone_is_not_executable() {
        let plain = directory_with("tool", 0o644);
        let path = plain.path().to_str().unwrap();
        assert_eq!(find(b"tool", path.as_bytes(), Path::new("/")), Err(Missing::NotExecutable));
        assert_eq!(find(b"./tool", b"", plain.path()), Err(Missing::NotExecutable));
        assert_eq!(find(b"/etc", b"", Path::new("/")), Err(Missing::NotExecutable));
    }

    #[test]
    fn nothing_is_not_found() {
        assert_eq!(find(b"no-such-tool", b"/usr/bin", Path::new("/")), Err(Missing::NotFound));
        assert_eq!(find(b"", b"/usr/bin", Path::new("/")), Err(Missing::NotFound));
        assert_eq!(find(b"./gone", b"", Path::new("/")), Err(Missing::NotFound));
    }
}
