//! Operations on single files and directories of a workspace, one method each. Requests and answers are those of the
//! worker's wire, whose documentation says what each means.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use pyro_protocol::work::{
    Delete, Entry, Glob, Grep, List, Listed, MakeDirectory, Match, Patch, Patched, PathRef, Read, ReadDone,
    Replace, Replaced, Transfer, Unpacked, WorkFailureCode, Write, Written, work_reply::Body, work_request,
};
use tokio::sync::mpsc;

use super::{
    conversation::Conversation,
    error::{FileError, reach},
    gathered::Gathered,
    workers::FileWorkers,
};
use crate::fault::FaultPoint;

/// Entries and how the listing ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// In order of path.
    pub entries: Vec<Entry>,
    /// Whether there was more, and what was left out.
    pub listed: Listed,
}

/// Lines and how the search ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// In order of path and line.
    pub matches: Vec<Match>,
    /// Whether there was more, and what was left out.
    pub listed: Listed,
}

/// The content of a file, and the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The bytes that were asked for.
    pub bytes: Bytes,
    /// The file at the time, and whether a bound cut it off.
    pub done: ReadDone,
}

/// Answers a request whose only answer is its end.
macro_rules! end {
    ($conversation:expr, $variant:ident) => {
        match $conversation.next().await {
            Ok(Body::$variant(answer)) => Ok(answer),
            Err(error) => Err(error),
            Ok(_) => Err(FileError::Protocol("a request was answered with something else")),
        }
    };
}

impl FileWorkers {
    /// What is at a path; links are not followed.
    pub(crate) async fn stat(&self, request: PathRef) -> Result<Entry, FileError> {
        let mut conversation = self.ask(work_request::Body::Stat(request)).await?;
        end!(conversation, Entry)
    }

    /// What is in a directory.
    pub(crate) async fn list(&self, request: List) -> Result<Listing, FileError> {
        let conversation = self.ask(work_request::Body::List(request)).await?;
        entries(conversation).await
    }

    /// Paths that match a pattern.
    pub(crate) async fn glob(&self, request: Glob) -> Result<Listing, FileError> {
        let conversation = self.ask(work_request::Body::Glob(request)).await?;
        entries(conversation).await
    }

    /// Lines that match a pattern.
    pub(crate) async fn grep(&self, request: Grep) -> Result<Found, FileError> {
        let mut conversation = self.ask(work_request::Body::Grep(request)).await?;
        let mut matches = Gathered::new("lines that match");
        loop {
            match conversation.next().await? {
                Body::Matches(more) => matches.add(more.matches)?,
                Body::Done(listed) => return Ok(Found { matches: matches.all(), listed }),
                _ => return Err(FileError::Protocol("a search was answered with something else")),
            }
        }
    }

    /// A file's content, all at once: the request's bound, which must be given, is the caller's memory.
    pub(crate) async fn read(&self, request: Read) -> Result<Content, FileError> {
        let most_bytes = request.max_bytes;
        let mut conversation = self.ask(work_request::Body::Read(request)).await?;
        let mut bytes = BytesMut::new();
        loop {
            match conversation.next().await? {
                Body::Data(more) if (bytes.len() + more.len()) as u64 > most_bytes => {
                    return Err(FileError::Protocol("a read was answered with more than was asked for"));
                }
                Body::Data(more) => bytes.extend_from_slice(&more),
                Body::ReadDone(done) => return Ok(Content { bytes: bytes.freeze(), done }),
                _ => return Err(FileError::Protocol("a read was answered with something else")),
            }
        }
    }

    /// A file's content, piece by piece. Nobody to take it ends the read.
    pub(crate) async fn read_to(
        &self,
        request: Read,
        pieces: &mpsc::Sender<Bytes>,
    ) -> Result<ReadDone, FileError> {
        let mut conversation = self.ask(work_request::Body::Read(request)).await?;
        loop {
            match conversation.next().await? {
                Body::Data(more) => pieces.send(more).await.map_err(|_| FileError::Abandoned)?,
                Body::ReadDone(done) => return Ok(done),
                _ => return Err(FileError::Protocol("a read was answered with something else")),
            }
        }
    }

    /// Replaces or makes a file in one step.
    pub(crate) async fn write(&self, request: Write, content: Bytes) -> Result<Written, FileError> {
        let mut conversation = self.ask(work_request::Body::Write(request)).await?;
        conversation.send(content).await?;
        conversation.end().await?;
        end!(conversation, Written)
    }

    /// The same, piece by piece: the file is replaced when `pieces` is closed and `is_whole` says so.
    pub(crate) async fn write_from(
        &self,
        request: Write,
        pieces: &mut mpsc::Receiver<Bytes>,
        is_whole: impl Fn() -> bool + Send,
    ) -> Result<Written, FileError> {
        let mut conversation = self.ask(work_request::Body::Write(request)).await?;
        loop {
            tokio::select! {
                biased;
                // Before the end only a refusal comes.
                early = conversation.next() => {
                    early?;
                    return Err(FileError::Protocol("the answer came before the end of the input"));
                }
                piece = pieces.recv() => match piece {
                    Some(piece) => conversation.send(piece).await?,
                    None => break,
                },
            }
        }
        if !is_whole() {
            conversation.abandon("the caller went away".to_owned()).await?;
            drop(conversation.next().await);
            return Err(FileError::Abandoned);
        }
        conversation.end().await?;
        end!(conversation, Written)
    }

    /// Replaces text in a file.
    pub(crate) async fn replace(&self, request: Replace) -> Result<Replaced, FileError> {
        let mut conversation = self.ask(work_request::Body::Replace(request)).await?;
        end!(conversation, Replaced)
    }

    /// Makes a directory and those above it. Whether it was not there before.
    pub(crate) async fn make_directory(&self, request: MakeDirectory) -> Result<bool, FileError> {
        // Only a refusal says that it is there already.
        let first = MakeDirectory { must_create: true, ..request.clone() };
        let mut conversation = self.ask(work_request::Body::MakeDirectory(first)).await?;
        match end!(conversation, Done) {
            Ok(_) => Ok(true),
            Err(error) if error.is(WorkFailureCode::Exists) && !request.must_create => {
                let mut conversation = self.ask(work_request::Body::MakeDirectory(request)).await?;
                end!(conversation, Done).map(|_| false)
            }
            Err(error) => Err(error),
        }
    }

    /// Renames.
    pub(crate) async fn rename(&self, request: Transfer) -> Result<(), FileError> {
        let mut conversation = self.ask(work_request::Body::Move(request)).await?;
        end!(conversation, Done).map(drop)
    }

    /// Copies a file or a tree.
    pub(crate) async fn copy(&self, request: Transfer) -> Result<Unpacked, FileError> {
        let mut conversation = self.ask(work_request::Body::Copy(request)).await?;
        end!(conversation, Unpacked)
    }

    /// Deletes. Whether there was anything.
    pub(crate) async fn delete(&self, request: Delete) -> Result<bool, FileError> {
        let missing_ok = request.missing_ok;
        let strict = Delete { missing_ok: false, ..request };
        let mut conversation = self.ask(work_request::Body::Delete(strict)).await?;
        match end!(conversation, Done) {
            Ok(_) => Ok(true),
            Err(error) if error.is(WorkFailureCode::NotFound) && missing_ok => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Applies a patch, all or nothing.
    pub(crate) async fn patch(&self, request: Patch, patch: Bytes) -> Result<Patched, FileError> {
        /// The guest's.
        const PLACE: &str = "/workspace";
        let mut conversation = self.ask(work_request::Body::Patch(request)).await?;
        reach(FaultPoint::PatchAsked, Path::new(PLACE))?;
        conversation.send(patch).await?;
        conversation.end().await?;
        reach(FaultPoint::PatchSent, Path::new(PLACE))?;
        let patched = end!(conversation, Patched)?;
        reach(FaultPoint::PatchAnswered, Path::new(PLACE))?;
        Ok(patched)
    }
}

async fn entries(mut conversation: Conversation) -> Result<Listing, FileError> {
    let mut entries = Gathered::new("entries");
    loop {
        match conversation.next().await? {
            Body::Entries(more) => entries.add(more.entries)?,
            Body::Done(listed) => return Ok(Listing { entries: entries.all(), listed }),
            _ => return Err(FileError::Protocol("a listing was answered with something else")),
        }
    }
}
