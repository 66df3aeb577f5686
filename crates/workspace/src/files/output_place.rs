//! [`OutputPlace`]: a name on the host under which something will be, whole or not at all.
//!
//! It is made beside the place under a name of ours and then renamed: nobody sees half of it, and what cannot be made is
//! removed. Without force nothing is ever replaced, also if it came in between; with force, what is there stays until the new
//! is whole.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use pyro_tree::{FileKind, RelativePath, Root, beneath};
use rustix::{
    fs::{RenameFlags, renameat_with},
    io::Errno,
};

use super::error::FileError;

/// Names of what is being made begin with this.
const TEMPORARY_PREFIX: &str = ".pyro-export-";

/// A name, and what is being made for it. Dropped before [`OutputPlace::fill`], nothing of it is left.
#[derive(Debug)]
pub(super) struct OutputPlace {
    /// As it was named.
    path: PathBuf,
    /// The directory in which the name is.
    directory: Root,
    name: RelativePath,
    temporary: RelativePath,
    /// Whether what is there may be replaced.
    force: bool,
}

impl OutputPlace {
    /// Looks whether something may be made at `path`, whose directory must exist. Blocks.
    pub(super) fn claim(path: &Path, force: bool) -> Result<Self, FileError> {
        let host = |source| FileError::Host { operation: "write", path: path.to_owned(), source };
        let unusable = || host(io::Error::new(io::ErrorKind::InvalidInput, "it does not end with a name"));
        // `a/.` has a last name for the standard library, which drops the dot.
        let ends_with_name = !path.as_os_str().as_bytes().ends_with(b"/.");
        let name = path.file_name().filter(|_| ends_with_name).ok_or_else(unusable)?;
        let name = RelativePath::new(name.as_bytes()).map_err(|_| unusable())?;
        let above =
            path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let directory = Root::open(above).map_err(host)?;
        let mut token = [0_u8; 8];
        crate::entropy::fill(&mut token).map_err(host)?;
        let token = token.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let temporary = format!("{TEMPORARY_PREFIX}{token}");
        let temporary = RelativePath::new(temporary.as_bytes()).map_err(|_| unusable())?;
        let place = Self { path: path.to_owned(), directory, name, temporary, force };
        if !force && place.found()?.is_some() {
            return Err(FileError::OutputExists { path: path.to_owned() });
        }
        Ok(place)
    }

    /// As it was named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it a file, still empty and private.
    pub(super) fn file(&self) -> Result<File, FileError> {
        self.directory.create(&self.temporary, 0o600).map_err(|error| self.failed(error))
    }

    /// Makes it a directory, still empty and private.
    pub(super) fn tree(&self) -> Result<Root, FileError> {
        let made = self.directory.make_directory(&self.temporary, 0o700);
        made.and_then(|()| self.directory.descend(&self.temporary)).map_err(|error| self.failed(error))
    }

    /// Makes it a symbolic link.
    pub(super) fn link(&self, target: &[u8]) -> Result<(), FileError> {
        self.directory.make_link(&self.temporary, target).map_err(|error| self.failed(error))
    }

    /// Gives what was made its permissions.
    pub(super) fn set_mode(&self, mode: u32) -> Result<(), FileError> {
        self.directory.set_mode(&self.temporary, mode).map_err(|error| self.failed(error))
    }

    /// Puts what was made in its place. Blocks.
    pub(super) fn fill(self) -> Result<(), FileError> {
        match (self.force, self.found()?) {
            (false, Some(_)) => Err(FileError::OutputExists { path: self.path.clone() }),
            (_, None) => match self.directory.rename_new(&self.temporary, &self.name) {
                Err(error) if error.is_exists() && !self.force => {
                    Err(FileError::OutputExists { path: self.path.clone() })
                }
                renamed => renamed.map_err(|error| self.failed(error)),
            },
            (true, Some(found)) => self.replace(found),
        }
    }

    fn replace(&self, found: FileKind) -> Result<(), FileError> {
        let made = self.directory.metadata(&self.temporary).map_err(|error| self.failed(error))?.kind;
        if found != FileKind::Directory && made != FileKind::Directory {
            let renamed = self.directory.rename(&self.temporary, &self.name);
            return renamed.map_err(|error| self.failed(error));
        }
        let (directory, one, other) =
            (self.directory.as_fd(), self.temporary.as_os_str(), self.name.as_os_str());
        match renameat_with(directory, one, directory, other, RenameFlags::EXCHANGE) {
            // What was there has our name now, and goes with it.
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS) => self.replace_in_two_steps(),
            Err(errno) => Err(self.io(errno.into())),
        }
    }

    /// For file systems that cannot exchange two names.
    fn replace_in_two_steps(&self) -> Result<(), FileError> {
        let aside = OsStr::as_bytes(self.temporary.as_os_str());
        let aside =
            RelativePath::new([aside, b".old"].concat()).map_err(|error| self.io(io::Error::other(error)))?;
        self.directory.rename_new(&self.name, &aside).map_err(|error| self.failed(error))?;
        if let Err(error) = self.directory.rename_new(&self.temporary, &self.name) {
            // What was there must not be lost for it.
            let _restored = self.directory.rename_new(&aside, &self.name);
            return Err(self.failed(error));
        }
        self.directory.remove_tree(&aside).map_err(|error| self.failed(error))
    }

    fn found(&self) -> Result<Option<FileKind>, FileError> {
        let found = self.directory.find(&self.name).map_err(|error| self.failed(error))?;
        Ok(found.map(|metadata| metadata.kind))
    }

    fn failed(&self, error: beneath::Error) -> FileError {
        self.io(match error {
            beneath::Error::Io { source, .. } => source,
            error => io::Error::other(error),
        })
    }

    fn io(&self, source: io::Error) -> FileError {
        FileError::Host { operation: "write", path: self.path.clone(), source }
    }
}

impl Drop for OutputPlace {
    fn drop(&mut self) {
        // Under this name there is what could not be put in its place, or what was replaced.
        if let Err(error) = self.directory.remove_tree(&self.temporary) {
            tracing::warn!(%error, path = %self.path.display(), "what is left of an export cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn make_file(path: &Path, force: bool) -> Result<(), FileError> {
        let place = OutputPlace::claim(path, force)?;
        place.file()?.write_all(b"new").unwrap();
        place.fill()
    }

    fn make_tree(path: &Path, force: bool) -> Result<(), FileError> {
        let place = OutputPlace::claim(path, force)?;
        let root = place.tree()?;
        root.create(&RelativePath::new("in").unwrap(), 0o600).unwrap().write_all(b"new").unwrap();
        place.fill()
    }

    #[test]
    fn what_is_there_is_replaced_only_by_force() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("file"), "old").unwrap();
        fs::create_dir(at("tree")).unwrap();
        fs::write(at("tree/old"), "old").unwrap();
        symlink("nowhere", at("link")).unwrap();
        for name in ["file", "tree", "link"] {
            for make in [make_file, make_tree] {
                let refused = make(&at(name), false).unwrap_err();
                assert!(matches!(refused, FileError::OutputExists { .. }), "{name}: {refused}");
            }
        }
        assert_eq!(names(home.path()), ["file", "link", "tree"]);
        for name in ["file", "tree", "link", "fresh"] {
            make_tree(&at(name), true).unwrap();
            assert_eq!(names(&at(name)), ["in"], "{name}");
            make_file(&at(name), true).unwrap();
            assert_eq!(fs::read(at(name)).unwrap(), b"new", "{name}");
        }
        assert_eq!(names(home.path()), ["file", "fresh", "link", "tree"]);
    }

    #[test]
    fn what_comes_in_between_is_spared_and_nothing_of_ours_is_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out");
        let place = OutputPlace::claim(&path, false).unwrap();
        place.tree().unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(place.fill(), Err(FileError::OutputExists { .. })));
        let given_up = OutputPlace::claim(&home.path().join("other"), false).unwrap();
        given_up.file().unwrap();
        drop(given_up);
        assert_eq!(
            (names(home.path()), fs::read(&path).unwrap()),
            (vec!["out".to_owned()], b"theirs".to_vec())
        );
    }

    #[test]
    fn a_place_is_a_name_in_a_directory() {
        let home = tempfile::tempdir().unwrap();
        for bad in ["..", "absent/out", "a/..", "a/."] {
            assert!(matches!(make_file(&home.path().join(bad), true), Err(FileError::Host { .. })), "{bad}");
        }
        assert!(make_file(Path::new("/"), true).is_err());
        assert_eq!(names(home.path()), [""; 0]);
    }
}
