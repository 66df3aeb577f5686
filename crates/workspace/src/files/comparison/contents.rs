//! [`Sides`]: the two workspaces of a comparison, and the bytes of their files.

use bytes::Bytes;
use pyro_protocol::work::{Entry, EntryKind, PathRef, Read, WorkFailureCode};
use pyro_tree::RelativePath;

use super::{
    super::{error::FileError, workers::FileWorkers},
    Side, SideError,
};

/// What is compared, and with what.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    /// What is compared with.
    pub(super) old: &'a FileWorkers,
    /// What is compared.
    pub(super) new: &'a FileWorkers,
}

/// The bytes that a patch takes for what is at a path: the content of a file, the target of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// They.
    Bytes(Bytes),
    /// There are too many of them.
    TooLong,
    /// It is not there any more, or has become something else.
    Gone,
}

impl<'a> Sides<'a> {
    /// Asks both at the same time.
    pub(super) async fn both<T, F>(
        self,
        ask: impl Fn(Side, &'a FileWorkers) -> F,
    ) -> Result<(T, T), SideError>
    where
        F: Future<Output = Result<T, FileError>>,
    {
        let (old, new) = tokio::join!(ask(Side::Old, self.old), ask(Side::New, self.new));
        Ok((old.map_err(Side::Old.failed())?, new.map_err(Side::New.failed())?))
    }

    fn files(self, side: Side) -> &'a FileWorkers {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// The bytes of an entry, if they are not more than `max_bytes`.
    pub(super) async fn content(
        self,
        side: Side,
        path: &RelativePath,
        entry: &Entry,
        max_bytes: u64,
    ) -> Result<Content, SideError> {
        if entry.kind() == EntryKind::Symlink {
            return Ok(Content::Bytes(entry.link_target.clone().into()));
        }
        if entry.size_bytes > max_bytes {
            return Ok(Content::TooLong);
        }
        let read = Read { path: path.as_bytes().to_vec(), max_bytes, ..Read::default() };
        match self.files(side).read(read).await {
            // It may have grown.
            Ok(content) if content.done.truncated => Ok(Content::TooLong),
            Ok(content) => Ok(Content::Bytes(content.bytes)),
            Err(error) if is_gone(&error) => Ok(Content::Gone),
            Err(error) => Err(side.failed()(error)),
        }
    }

    /// The digest of a file that is too long to be read here; none if it is gone.
    pub(super) async fn digest(self, side: Side, path: &RelativePath) -> Result<Option<Vec<u8>>, SideError> {
        let asked = PathRef { path: path.as_bytes().to_vec(), with_sha256: true };
        match self.files(side).stat(asked).await {
            Ok(entry) => Ok(Some(entry.sha256)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(side.failed()(error)),
        }
    }
}

fn is_gone(error: &FileError) -> bool {
    [WorkFailureCode::NotFound, WorkFailureCode::WrongType, WorkFailureCode::Escapes]
        .into_iter()
        .any(|code| error.is(code))
}
