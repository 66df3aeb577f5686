//! A configuration file on disk: read as it is, and written so that it is there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Longest configuration that is read, bytes. Hosts that keep histories in theirs reach some megabytes.
const LONGEST: u64 = 64 << 20;

/// A configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConfigurationFile {
    /// Where the host looks.
    pub(crate) path: PathBuf,
    /// Where that leads, links followed.
    pub(crate) target: PathBuf,
    /// What is in it; none if it is not there.
    pub(crate) text: Option<String>,
}

/// Why a file was left alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    #[error("cannot {action} {}", path.display())]
    Failed { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is {what}", path.display())]
    NoFile { path: PathBuf, what: &'static str },
    #[error("{} is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("{} may not be written", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} changed meanwhile", path.display())]
    Changed { path: PathBuf },
}

impl ConfigurationFile {
    /// Reads it; one that is not there has no text.
    pub(crate) fn read(path: &Path) -> Result<Self, FileFault> {
        let failed = |source| FileFault::Failed { action: "read", path: path.to_owned(), source };
        let no_file = |what| FileFault::NoFile { path: path.to_owned(), what };
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.symlink_metadata().is_ok() {
                    return Err(no_file("a link that leads nowhere"));
                }
                return Ok(Self { path: path.to_owned(), target: path.to_owned(), text: None });
            }
            Err(error) => return Err(failed(error)),
        };
        let metadata = fs::metadata(&target).map_err(failed)?;
        if metadata.is_dir() {
            return Err(no_file("a directory"));
        }
        if !metadata.is_file() {
            return Err(no_file("no plain file"));
        }
        if metadata.len() > LONGEST {
            return Err(no_file("too long for a configuration"));
        }
        let mut bytes = Vec::new();
        File::open(&target).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| FileFault::NotText { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), target, text: Some(text) })
    }

    /// Puts a new text in its place, with the mode and the owner of the old one, which is kept beside it. Gives where.
    ///
    /// `private` says whether a file that is not there yet is for its owner only.
    pub(crate) fn replace(&self, text: &str, private: bool) -> Result<Option<PathBuf>, FileFault> {
        let directory = self.target.parent().unwrap_or_else(|| Path::new("/"));
        let at = |action, path: &Path| {
            let path = path.to_owned();
            move |source| FileFault::Failed { action, path, source }
        };
        let Some(before) = &self.text else {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(if private { 0o700 } else { 0o777 })
                .create(directory)
                .map_err(at("make the directory", directory))?;
            let new = self.beside(text, if private { 0o600 } else { 0o666 }, None)?;
            // Unlike a rename, a link takes no name that somebody took meanwhile.
            let linked = fs::hard_link(&new, &self.target);
            let _removed = fs::remove_file(&new);
            return match linked {
                Ok(()) => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.changed()),
                Err(error) => Err(at("write", &self.path)(error)),
            };
        };
        let metadata = fs::metadata(&self.target).map_err(at("read", &self.path))?;
        let may_write = rustix::fs::access(&self.target, rustix::fs::Access::WRITE_OK).is_ok();
        // Root may write everything, but somebody meant something by this.
        if !may_write || metadata.mode() & 0o222 == 0 {
            return Err(FileFault::ReadOnly { path: self.path.clone() });
        }
        let backup = self.keep(before, &metadata)?;
        let new = self.beside(text, metadata.mode() & 0o7777, Some(&metadata)).inspect_err(|_| {
            let _removed = fs::remove_file(&backup);
        })?;
        let unchanged = fs::read(&self.target).is_ok_and(|now| now == before.as_bytes());
        let renamed = if unchanged { fs::rename(&new, &self.target) } else { Ok(()) };
        if !unchanged || renamed.is_err() {
            let _removed = fs::remove_file(&new);
            let _removed = fs::remove_file(&backup);
        }
        renamed.map_err(at("write", &self.path))?;
        if !unchanged {
            return Err(self.changed());
        }
        // The file is whole either way; this only makes it last through a power cut.
        let _synced = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(Some(backup))
    }

    fn changed(&self) -> FileFault {
        FileFault::Changed { path: self.path.clone() }
    }

    /// Writes the old text to the first free name beside the file.
    fn keep(&self, text: &str, metadata: &fs::Metadata) -> Result<PathBuf, FileFault> {
        let mut number = 0_u32;
        loop {
            let ending =
                if number == 0 { ".pyro-backup".to_owned() } else { format!(".pyro-backup.{number}") };
            match self.write_new(&ending, text, metadata.mode() & 0o7777, Some(metadata)) {
                Ok(path) => return Ok(path),
                Err((_, error)) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err((path, source)) => {
                    return Err(FileFault::Failed { action: "write the backup", path, source });
                }
            }
        }
    }

    /// Writes a file that will take the place of this one.
    fn beside(&self, text: &str, mode: u32, like: Option<&fs::Metadata>) -> Result<PathBuf, FileFault> {
        let ending = format!(".pyro-new.{}", std::process::id());
        self.write_new(&ending, text, mode, like).map_err(|(path, source)| FileFault::Failed {
            action: "write",
            path,
            source,
        })
    }

    /// Writes a file that is not there yet, named as this one with an ending. What cannot be whole is removed.
    fn write_new(
        &self,
        ending: &str,
        text: &str,
        mode: u32,
        like: Option<&fs::Metadata>,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let mut name = self.target.clone().into_os_string();
        name.push(ending);
        let path = PathBuf::from(name);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => file,
            Err(error) => return Err((path, error)),
        };
        let written = like
            .map_or(Ok(()), |like| belong_like(&file, like, mode))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all());
        match written {
            Ok(()) => Ok(path),
            Err(error) => {
                let _removed = fs::remove_file(&path);
                Err((path, error))
            }
        }
    }
}

/// Gives a file the owner and the mode of another.
fn belong_like(file: &File, like: &fs::Metadata, mode: u32) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    // The mode at creation is cut by the umask.
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.json");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        for (number, (old, new)) in [("one", "two"), ("two", "three"), ("three", "four")].iter().enumerate() {
            let backup = ConfigurationFile::read(&path).unwrap().replace(new, true).unwrap().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), *new);
            assert_eq!(fs::read_to_string(&backup).unwrap(), *old);
            assert_eq!((mode(&path), mode(&backup)), (0o640, 0o640));
            let ending =
                if number == 0 { ".pyro-backup".to_owned() } else { format!(".pyro-backup.{number}") };
            assert!(backup.to_str().unwrap().ends_with(&ending), "{}", backup.display());
        }
        assert_ne!(fs::metadata(&path).unwrap().ino(), before.ino(), "it was renamed into place");
        assert_eq!(
            names(directory.path()),
            ["c.json", "c.json.pyro-backup", "c.json.pyro-backup.1", "c.json.pyro-backup.2"]
        );
    }

    #[test]
    fn a_link_stays_one_and_what_it_leads_to_changes() {
        let directory = tempfile::tempdir().unwrap();
        let (dotfiles, home) = (directory.path().join("dotfiles"), directory.path().join("home"));
        fs::create_dir(&dotfiles).unwrap();
        fs::create_dir(&home).unwrap();
        fs::write(dotfiles.join("c"), "one").unwrap();
        symlink("../dotfiles/c", home.join("middle")).unwrap();
        symlink("middle", home.join("c")).unwrap();
        let backup = ConfigurationFile::read(&home.join("c")).unwrap().replace("two", true).unwrap().unwrap();
        assert_eq!(fs::read_to_string(dotfiles.join("c")).unwrap(), "two");
        assert_eq!(fs::read_link(home.join("c")).unwrap(), Path::new("middle"));
        assert!(backup.starts_with(dotfiles.canonicalize().unwrap()), "{}", backup.display());
        assert_eq!(names(&home), ["c", "middle"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_made_with_its_directories() {
        let directory = tempfile::tempdir().unwrap();
        for (private, name, expected) in [(true, "a", 0o600), (false, "b", 0o644)] {
            let path = directory.path().join(name).join("deep/c.json");
            let file = ConfigurationFile::read(&path).unwrap();
            assert_eq!(file.text, None);
            assert_eq!(file.replace("one", private).unwrap(), None);
            assert_eq!(fs::read_to_string(&path).unwrap(), "one");
            assert_eq!(mode(&path) & !0o022, expected & !0o022);
            assert_eq!(names(path.parent().unwrap()), ["c.json"]);
        }
    }

    #[test]
    fn what_changed_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c");
        let absent = ConfigurationFile::read(&path).unwrap();
        fs::write(&path, "of the host").unwrap();
        assert!(matches!(absent.replace("ours", true), Err(FileFault::Changed { .. })));
        let seen = ConfigurationFile::read(&path).unwrap();
        fs::write(&path, "of the host, later").unwrap();
        assert!(matches!(seen.replace("ours", true), Err(FileFault::Changed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "of the host, later");
        assert_eq!(names(directory.path()), ["c"], "neither a backup nor a new file is left");
    }

    #[test]
    fn what_is_no_writable_text_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        fs::write(at("bytes"), b"\xff\xfe").unwrap();
        fs::write(at("file"), "x").unwrap();
        assert!(matches!(ConfigurationFile::read(&at("directory")), Err(FileFault::NoFile { .. })));
        assert!(matches!(ConfigurationFile::read(&at("dangling")), Err(FileFault::NoFile { .. })));
        assert!(matches!(ConfigurationFile::read(&at("loop")), Err(FileFault::Failed { .. })));
        assert!(matches!(ConfigurationFile::read(&at("bytes")), Err(FileFault::NotText { .. })));
        assert!(matches!(ConfigurationFile::read(&at("file/below")), Err(FileFault::Failed { .. })));
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o444)).unwrap();
        let file = ConfigurationFile::read(&at("file")).unwrap();
        assert!(matches!(file.replace("y", true), Err(FileFault::ReadOnly { .. })));
        assert_eq!(names(directory.path()), ["bytes", "dangling", "directory", "file", "loop"]);
    }
}
