//! Why something on a disk could not be read.

use std::{io, path::PathBuf};

use crate::path::Shown;

/// What failed, at what. Offsets are in bytes: on the whole disk, or in the layer's file where its header or its first table is
/// meant; 0 where there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image could not be opened.
    #[error("open `{}`", image.display())]
    Open {
        /// Which.
        image: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system did not give an image's bytes.
    #[error("read `{}` at byte {offset}", image.display())]
    Read {
        /// Which image.
        image: PathBuf,
        /// Where.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What an image holds makes no sense.
    #[error("`{}` is corrupt at byte {offset}: {what}", image.display())]
    Corrupt {
        /// Which image.
        image: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// An image is made in a way that is not understood.
    #[error("`{}` cannot be read: it has {feature}", image.display())]
    Unsupported {
        /// Which image.
        image: PathBuf,
        /// What it has.
        feature: String,
    },
    /// Something in an EROFS image.
    #[error("read {object} of `{}`", image.display())]
    Erofs {
        /// Which image.
        image: PathBuf,
        /// What of it.
        object: &'static str,
        /// What the reader said.
        #[source]
        source: erofs_rs::Error,
    },
    /// A path leads to nothing.
    #[error("there is no `{path}`")]
    NotFound {
        /// As far as it was understood.
        path: Shown,
    },
    /// A path goes on behind something that is no directory.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// What is none.
        path: Shown,
    },
    /// Contents were asked for of something that has none.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// What is none.
        path: Shown,
    },
    /// A path that no machine would take.
    #[error("`{path}` is not a path: {why}")]
    BadPath {
        /// As it was given, shortened.
        path: Shown,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Symbolic links lead on and on.
    #[error("`{path}` leads through more than {limit} symbolic links")]
    TooManyLinks {
        /// As it was given.
        path: Shown,
        /// How many are followed.
        limit: usize,
    },
    /// There is more than is looked at.
    #[error("`{path}` has more than {limit} {what}")]
    TooMuch {
        /// Where.
        path: Shown,
        /// Of what.
        what: &'static str,
        /// How much is looked at.
        limit: u64,
    },
    /// A directory lies in itself.
    #[error("`{path}` lies in itself")]
    Cycle {
        /// Which.
        path: Shown,
    },
    /// What was read could not be written.
    #[error("write {object}")]
    Write {
        /// What.
        object: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
