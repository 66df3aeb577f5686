//! What `/workspace` is filled with at the beginning: a directory or an archive of the host, streamed.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use pyro_protocol::work::{Seed, work_reply, work_request};
use pyro_tree::{Notes, seed::Git};

use super::{
    archive,
    error::FileError,
    transfer::{self, TransferProgress},
    workers::FileWorkers,
};
use crate::{
    error::Error,
    task,
    workspaces::{SeedMode, SeedRecord},
};

/// Where files of the host are taken from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SeedSource {
    /// A directory with all it holds.
    Directory {
        /// Which; a symbolic link to one is followed.
        path: PathBuf,
        /// Patterns (gitignore's syntax) that are left out, beside those of `.pyroignore` files.
        exclude: Vec<String>,
        /// Only what git tracks, with uncommitted edits, and `.git` itself.
        tracked_by_git: bool,
    },
    /// A tar archive: plain, gzip or zstd.
    Archive {
        /// Which.
        path: PathBuf,
    },
}

impl SeedSource {
    /// The directory or archive.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory { path, .. } | Self::Archive { path } => path,
        }
    }

    /// Whether the source is there and of the right kind.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let source = self.clone();
        task::blocking(move || source.look().map_err(Error::from)).await
    }

    fn look(&self) -> Result<(), FileError> {
        let failed = |source| FileError::Host { operation: "read", path: self.path().to_owned(), source };
        let about = fs::metadata(self.path()).map_err(failed)?;
        match self {
            Self::Directory { .. } if !about.is_dir() => Err(failed(io::ErrorKind::NotADirectory.into())),
            Self::Archive { .. } if !about.is_file() => {
                Err(failed(io::Error::other("it is no regular file")))
            }
            Self::Directory { .. } => Ok(()),
            Self::Archive { path } => File::open(path).map(drop).map_err(failed),
        }
    }

    /// Writes the source as a tar stream; what was left out and why. Blocks.
    pub(super) fn write(&self, git: &Git, output: &mut dyn Write) -> Result<Vec<String>, FileError> {
        self.pack(git, output).map(|notes| archive::told(&notes))
    }

    /// The same with all that is known of what was left out.
    pub(super) fn pack(&self, git: &Git, output: &mut dyn Write) -> Result<Notes, FileError> {
        match self {
            Self::Directory { path, exclude, tracked_by_git } => {
                archive::pack_directory(path, exclude, tracked_by_git.then_some(git), output)
            }
            Self::Archive { path } => archive::copy_archive(path, output).map(|()| Notes::default()),
        }
    }

    /// What kind of source it is.
    pub fn mode(&self) -> SeedMode {
        match self {
            Self::Directory { .. } => SeedMode::Directory,
            Self::Archive { .. } => SeedMode::TarArchive,
        }
    }
}

impl FileWorkers {
    /// Fills the empty `/workspace` of a new machine and makes that its base for ever.
    pub(crate) async fn seed(
        &self,
        source: Option<SeedSource>,
        git: &Git,
        progress: impl Fn(TransferProgress) + Send + 'static,
    ) -> Result<SeedRecord, Error> {
        let request = work_request::Body::Seed(Seed { has_input: source.is_some() });
        let mut conversation = self.ask(request).await?;
        let Some(source) = source else {
            return match conversation.next().await? {
                work_reply::Body::Unpacked(_) => Ok(SeedRecord::default()),
                _ => Err(FileError::Protocol("a seed was answered with something else").into()),
            };
        };
        let (writer, git) = (source.clone(), git.clone());
        let write = move |output: &mut dyn Write| writer.write(&git, output);
        let sent = transfer::send(&mut conversation, progress, write).await?;
        let work_reply::Body::Unpacked(unpacked) = sent.answer else {
            return Err(FileError::Protocol("a seed was answered with something else").into());
        };
        let (exclude, tracked_by_git) = match &source {
            SeedSource::Directory { exclude, tracked_by_git, .. } => (exclude.clone(), *tracked_by_git),
            SeedSource::Archive { .. } => (Vec::new(), false),
        };
        Ok(SeedRecord {
            mode: source.mode(),
            path: Some(source.path().to_owned()),
            entry_count: unpacked.entry_count,
            content_bytes: unpacked.content_bytes,
            notes: sent.written.into_iter().chain(unpacked.notes).collect(),
            exclude,
            tracked_by_git,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_of_another_kind_is_refused_before_anything_is_made() {
        let home = tempfile::tempdir().unwrap();
        let (file, pipe) = (home.path().join("file"), home.path().join("pipe"));
        fs::write(&file, "").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let directory = |path: &Path| SeedSource::Directory {
            path: path.to_owned(),
            exclude: Vec::new(),
            tracked_by_git: false,
        };
        let archive = |path: &Path| SeedSource::Archive { path: path.to_owned() };
        directory(home.path()).check().await.unwrap();
        archive(&file).check().await.unwrap();
        // A pipe would be waited for.
        let absent = home.path().join("absent");
        for bad in [
            directory(&file),
            directory(&pipe),
            directory(&absent),
            archive(home.path()),
            archive(&pipe),
            archive(&absent),
        ] {
            let refused = bad.check().await;
            assert!(
                matches!(&refused, Err(Error::Files(FileError::Host { path, .. })) if path == bad.path()),
                "{bad:?}: {refused:?}"
            );
        }
    }
}
