//! Between a request and a thread that blocks: what it writes goes to the guest, what it reads comes from there, a few
//! pieces ahead of whoever is slower.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use pyro_protocol::work::{DATA_BYTES, work_reply};
use tokio::sync::mpsc;

use super::{conversation::Conversation, error::FileError};

/// Pieces that may wait for the guest.
const PIECES_AHEAD: usize = 4;

/// How far a transfer is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TransferProgress {
    /// Bytes of archive or file that were moved.
    pub bytes: u64,
}

/// What came of a transfer.
#[derive(Debug)]
pub(super) struct Sent<T> {
    /// What the writer returned.
    pub(super) written: T,
    /// The guest's answer.
    pub(super) answer: work_reply::Body,
}

/// Sends what `write` writes as the whole input, and returns the guest's last word, which must be its first too.
pub(super) async fn send<T: Send + 'static>(
    conversation: &mut Conversation,
    progress: impl Fn(TransferProgress) + Send + 'static,
    write: impl FnOnce(&mut dyn Write) -> Result<T, FileError> + Send + 'static,
) -> Result<Sent<T>, FileError> {
    let written = send_input(conversation, progress, write).await?;
    Ok(Sent { written, answer: conversation.next().await? })
}

/// Runs `write` on a thread that may block, sends what it writes, and says that it was all. When the writer fails, the
/// guest is told to forget the input, and that failure is the result.
pub(super) async fn send_input<T: Send + 'static>(
    conversation: &mut Conversation,
    progress: impl Fn(TransferProgress) + Send + 'static,
    write: impl FnOnce(&mut dyn Write) -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let (pieces, mut written) = mpsc::channel(PIECES_AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let mut output = Pieces::new(pieces);
        let written = write(&mut output)?;
        // If the guest has answered before the end, its answer says why.
        drop(output.flush());
        Ok(written)
    });
    let mut moved = TransferProgress::default();
    let early = loop {
        let answered = tokio::select! {
            biased;
            answer = conversation.next() => Some(answer),
            piece = written.recv() => match piece {
                Some(piece) => {
                    let piece: Bytes = piece;
                    moved.bytes += piece.len() as u64;
                    conversation.send(piece).await?;
                    progress(moved);
                    None
                }
                None => break None,
            },
        };
        if let Some(answer) = answered {
            break Some(answer);
        }
    };
    // A writer that finds nobody to take its pieces ends.
    drop(written);
    let finished = writer.await.unwrap_or(Err(FileError::Protocol("a thread of the host failed")));
    if let Some(answer) = early {
        answer?;
        return Err(FileError::Protocol("the answer came before the end of the input"));
    }
    match finished {
        Ok(written) => {
            conversation.end().await?;
            Ok(written)
        }
        Err(error) => {
            conversation.abandon(crate::error::chain(&error)).await?;
            // The guest agrees; what went wrong here is what is told.
            drop(conversation.next().await);
            Err(error)
        }
    }
}

/// Gathers what is written into pieces of a good size.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: mpsc::Sender<Bytes>,
    gathered: BytesMut,
}

impl Pieces {
    /// For a thread that blocks. What is not flushed in the end is lost.
    pub(super) fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { pieces, gathered: BytesMut::new() }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let piece = self.gathered.split().freeze();
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(DATA_BYTES - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..taken]);
        if self.gathered.len() == DATA_BYTES {
            self.hand_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() { Ok(()) } else { self.hand_on() }
    }
}

/// Passes the bytes that the guest sends on, and returns what it says next. Nobody to take them is
/// [`FileError::Abandoned`].
pub(super) async fn receive(
    conversation: &mut Conversation,
    pieces: &mpsc::Sender<Bytes>,
    moved: &mut TransferProgress,
    progress: &(impl Fn(TransferProgress) + Send + Sync),
) -> Result<work_reply::Body, FileError> {
    loop {
        match conversation.next().await? {
            work_reply::Body::Data(piece) => {
                moved.bytes += piece.len() as u64;
                pieces.send(piece).await.map_err(|_| FileError::Abandoned)?;
                progress(*moved);
            }
            last => return Ok(last),
        }
    }
}

/// What the guest sends, for a thread that blocks.
#[derive(Debug)]
pub(super) struct Received {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Received {
    /// The two ends. The reader's end of file is when the sender is dropped, which says nothing about why.
    pub(super) fn channel() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        (sender, Self { pieces, piece: Bytes::new() })
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
