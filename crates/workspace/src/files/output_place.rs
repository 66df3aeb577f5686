//! [`OutputPlace`]: a name on the host under which something will be, whole or not at all.
//!
//! It is made beside the place under a name of ours and then renamed: nobody sees half of it, and what cannot be made is
//! removed. Without force nothing is ever replaced, also if it came in between; with force, what is there stays until the new
//! is whole. It is written down before ([`Claims`]), so that what a killed daemon leaves is removed by the next.

use std::{
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

use super::{
    claims::{Claim, Claims},
    error::{FileError, reach},
};
use crate::fault::FaultPoint;

/// Names of what is being made begin with this.
const TEMPORARY_PREFIX: &str = ".pyro-export-";
/// After that name: what is replaced, where two names cannot be exchanged.
const ASIDE_SUFFIX: &str = ".old";

/// A name, and what is being made for it. Dropped before [`OutputPlace::fill`], nothing of it is left.
#[derive(Debug)]
pub(crate) struct OutputPlace {
    /// As it was named.
    path: PathBuf,
    /// The directory in which the name is.
    directory: Root,
    name: RelativePath,
    temporary: RelativePath,
    aside: RelativePath,
    /// Whether what is there may be replaced.
    force: bool,
    claim: Claim,
}

impl OutputPlace {
    /// Looks whether something may be made at `path`, whose directory must exist. Blocks.
    pub(crate) fn claim(path: &Path, force: bool, claims: &Claims) -> Result<Self, FileError> {
        let (directory, name) = Self::look(path)?;
        if !force && directory.find(&name).map_err(|error| failed(path, error))?.is_some() {
            return Err(FileError::OutputExists { path: path.to_owned() });
        }
        let claim = claims.write(path)?;
        let place = Self::of(path, directory, name, force, claim)?;
        reach(FaultPoint::ExportClaimed, path)?;
        Ok(place)
    }

    /// The place of somebody who died. What he left goes when this is dropped. Blocks.
    pub(super) fn left(path: &Path, claim: Claim) -> Result<Self, FileError> {
        let (directory, name) = match Self::look(path) {
            Err(error) => {
                if error.is_gone() {
                    claim.forget();
                }
                return Err(error);
            }
            found => found?,
        };
        Self::of(path, directory, name, false, claim)
    }

    /// The directory and the name in it.
    fn look(path: &Path) -> Result<(Root, RelativePath), FileError> {
        let unusable =
            || host(path, io::Error::new(io::ErrorKind::InvalidInput, "it does not end with a name"));
        // `a/.` has a last name for the standard library, which drops the dot.
        let ends_with_name = !path.as_os_str().as_bytes().ends_with(b"/.");
        let name = path.file_name().filter(|_| ends_with_name).ok_or_else(unusable)?;
        let name = RelativePath::new(name.as_bytes()).map_err(|_| unusable())?;
        let above =
            path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        Ok((Root::open(above).map_err(|source| host(path, source))?, name))
    }

    fn of(
        path: &Path,
        directory: Root,
        name: RelativePath,
        force: bool,
        claim: Claim,
    ) -> Result<Self, FileError> {
        let own = |suffix: &str| {
            let name = format!("{TEMPORARY_PREFIX}{}{suffix}", claim.token());
            RelativePath::new(name.as_bytes()).map_err(|error| host(path, io::Error::other(error)))
        };
        let (temporary, aside) = (own("")?, own(ASIDE_SUFFIX)?);
        Ok(Self { path: path.to_owned(), directory, name, temporary, aside, force, claim })
    }

    /// As it was named.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it a file, still empty and private.
    pub(crate) fn file(&self) -> Result<File, FileError> {
        let file = self.directory.create(&self.temporary, 0o600).map_err(|error| self.failed(error))?;
        reach(FaultPoint::ExportMade, &self.path)?;
        Ok(file)
    }

    /// Makes it a directory, still empty and private.
    pub(crate) fn tree(&self) -> Result<Root, FileError> {
        let made = self.directory.make_directory(&self.temporary, 0o700);
        let tree = made
            .and_then(|()| self.directory.descend(&self.temporary))
            .map_err(|error| self.failed(error))?;
        reach(FaultPoint::ExportMade, &self.path)?;
        Ok(tree)
    }

    /// Makes it a symbolic link.
    pub(crate) fn link(&self, target: &[u8]) -> Result<(), FileError> {
        self.directory.make_link(&self.temporary, target).map_err(|error| self.failed(error))?;
        reach(FaultPoint::ExportMade, &self.path)
    }

    /// Gives what was made its permissions.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), FileError> {
        self.directory.set_mode(&self.temporary, mode).map_err(|error| self.failed(error))
    }

    /// Puts what was made in its place. Blocks.
    pub(crate) fn fill(self) -> Result<(), FileError> {
        reach(FaultPoint::ExportWritten, &self.path)?;
        self.put()?;
        reach(FaultPoint::ExportPlaced, &self.path)
    }

    fn put(&self) -> Result<(), FileError> {
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
            Err(errno) => Err(host(&self.path, errno.into())),
        }
    }

    /// For file systems that cannot exchange two names.
    fn replace_in_two_steps(&self) -> Result<(), FileError> {
        let aside = self.directory.rename_new(&self.name, &self.aside);
        aside
            .and_then(|()| self.directory.rename_new(&self.temporary, &self.name))
            .map_err(|error| self.failed(error))
    }

    /// Removes what could not be put in its place, or what was replaced.
    fn clean(&self) -> Result<(), beneath::Error> {
        if self.directory.find(&self.aside)?.is_some() {
            match self.directory.find(&self.name)? {
                Some(_) => self.directory.remove_tree(&self.aside)?,
                // What was there must not be lost for what could not be put in its place.
                None => self.directory.rename_new(&self.aside, &self.name)?,
            }
        }
        self.directory.remove_tree(&self.temporary)
    }

    fn found(&self) -> Result<Option<FileKind>, FileError> {
        let found = self.directory.find(&self.name).map_err(|error| self.failed(error))?;
        Ok(found.map(|metadata| metadata.kind))
    }

    fn failed(&self, error: beneath::Error) -> FileError {
        failed(&self.path, error)
    }
}

impl Drop for OutputPlace {
    fn drop(&mut self) {
        match self.clean() {
            Ok(()) => self.claim.forget(),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "what is left of an export cannot be removed");
            }
        }
    }
}

fn failed(path: &Path, error: beneath::Error) -> FileError {
    host(
        path,
        match error {
            beneath::Error::Io { source, .. } => source,
            error => io::Error::other(error),
        },
    )
}

fn host(path: &Path, source: io::Error) -> FileError {
    FileError::Host { operation: "write", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::layout::Layout;

    /// A directory of the user, and the store's beside it.
    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            fs::create_dir(home.at("")).unwrap();
            home
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join("user").join(name)
        }

        fn claims(&self) -> Claims {
            Claims::of(&self.layout())
        }

        fn layout(&self) -> Layout {
            Layout::new(self.0.path().join("state"), self.0.path().join("cache"))
        }

        fn claim(&self, name: &str, force: bool) -> Result<OutputPlace, FileError> {
            OutputPlace::claim(&self.at(name), force, &self.claims())
        }

        fn make_file(&self, name: &str, force: bool) -> Result<(), FileError> {
            let place = self.claim(name, force)?;
            place.file()?.write_all(b"new").unwrap();
            place.fill()
        }

        fn make_tree(&self, name: &str, force: bool) -> Result<(), FileError> {
            let place = self.claim(name, force)?;
            let root = place.tree()?;
            root.create(&RelativePath::new("in").unwrap(), 0o600).unwrap().write_all(b"new").unwrap();
            place.fill()
        }

        /// What there is, when nothing may be claimed any more.
        fn names(&self) -> Vec<String> {
            assert_eq!(names(&self.layout().exports()), [""; 0], "claims are left");
            names(&self.at(""))
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_is_replaced_only_by_force() {
        let home = Home::new();
        fs::write(home.at("file"), "old").unwrap();
        fs::create_dir(home.at("tree")).unwrap();
        fs::write(home.at("tree/old"), "old").unwrap();
        symlink("nowhere", home.at("link")).unwrap();
        for name in ["file", "tree", "link"] {
            for make in [Home::make_file, Home::make_tree] {
                let refused = make(&home, name, false).unwrap_err();
                assert!(matches!(refused, FileError::OutputExists { .. }), "{name}: {refused}");
            }
        }
        assert_eq!(home.names(), ["file", "link", "tree"]);
        for name in ["file", "tree", "link", "fresh"] {
            home.make_tree(name, true).unwrap();
            assert_eq!(names(&home.at(name)), ["in"], "{name}");
            home.make_file(name, true).unwrap();
            assert_eq!(fs::read(home.at(name)).unwrap(), b"new", "{name}");
        }
        assert_eq!(home.names(), ["file", "fresh", "link", "tree"]);
    }

    #[test]
    fn what_comes_in_between_is_spared_and_nothing_of_ours_is_left() {
        let home = Home::new();
        let place = home.claim("out", false).unwrap();
        place.tree().unwrap();
        fs::write(home.at("out"), "theirs").unwrap();
        assert!(matches!(place.fill(), Err(FileError::OutputExists { .. })));
        let given_up = home.claim("other", false).unwrap();
        given_up.file().unwrap();
        drop(given_up);
        assert_eq!(
            (home.names(), fs::read(home.at("out")).unwrap()),
            (vec!["out".to_owned()], b"theirs".to_vec())
        );
    }

    #[test]
    fn what_the_dead_left_is_removed_and_what_they_set_aside_comes_back() {
        let home = Home::new();
        fs::write(home.at("precious"), "old").unwrap();
        // Forgotten is as good as dead.
        let tree = std::mem::ManuallyDrop::new(home.claim("tree", false).unwrap());
        tree.tree().unwrap().create(&RelativePath::new("in").unwrap(), 0o600).unwrap();
        let file = std::mem::ManuallyDrop::new(home.claim("precious", true).unwrap());
        file.file().unwrap();
        file.directory.rename_new(&file.name, &file.aside).unwrap();
        let replaced = std::mem::ManuallyDrop::new(home.claim("new", true).unwrap());
        replaced.directory.create(&replaced.aside, 0o600).unwrap();
        fs::write(home.at("new"), "new").unwrap();
        fs::create_dir(home.at("gone")).unwrap();
        let _gone = std::mem::ManuallyDrop::new(home.claim("gone/out", false).unwrap());
        fs::remove_dir(home.at("gone")).unwrap();
        // A claim that was cut off while it was written.
        fs::write(home.layout().exports().join("0000000000000000"), "").unwrap();
        assert_eq!((names(&home.at("")).len(), names(&home.layout().exports()).len()), (5, 5));

        home.claims().settle().unwrap();
        assert_eq!(home.names(), ["new", "precious"]);
        assert_eq!(fs::read(home.at("precious")).unwrap(), b"old");
        home.claims().settle().unwrap();
    }

    #[test]
    fn a_place_is_a_name_in_a_directory() {
        let home = Home::new();
        for bad in ["..", "absent/out", "a/..", "a/."] {
            assert!(matches!(home.make_file(bad, true), Err(FileError::Host { .. })), "{bad}");
        }
        assert!(OutputPlace::claim(Path::new("/"), true, &home.claims()).is_err());
        assert_eq!(home.names(), [""; 0]);
    }
}
