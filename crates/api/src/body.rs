//! An HTTP body of [`Frame`](crate::frame::Frame)s that are still to come, and the reading side of one.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame as BodyFrame, Incoming};
use tokio::sync::mpsc;

use crate::frame::{Decoder, Frame, FrameError};

/// Frames that may wait in a body before its writer has to.
pub const FRAMES_IN_FLIGHT: usize = 16;

/// A body that sends what comes out of a channel and ends when the channel does.
#[derive(Debug)]
pub struct ChannelBody {
    chunks: mpsc::Receiver<Bytes>,
}

/// Writes frames into a [`ChannelBody`]; waits while the peer does not read.
#[derive(Clone, Debug)]
pub struct FrameSender {
    chunks: mpsc::Sender<Bytes>,
}

/// The peer is gone: its side of the body was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("peer has gone")]
pub struct PeerGone;

impl ChannelBody {
    /// A body and its writer.
    pub fn new() -> (FrameSender, Self) {
        let (sender, chunks) = mpsc::channel(FRAMES_IN_FLIGHT);
        (FrameSender { chunks: sender }, Self { chunks })
    }

    /// A body of just these bytes.
    pub fn of(bytes: Bytes) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        // A fresh channel of capacity 1 with a living receiver takes one value.
        let _sent = sender.try_send(bytes);
        Self { chunks }
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.chunks.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}

impl FrameSender {
    /// Sends one frame. A frame over the limit is a fault of the caller and is dropped as if the peer had gone.
    pub async fn send(&self, frame: Frame) -> Result<(), PeerGone> {
        let bytes = frame.encode().map_err(|_too_long| PeerGone)?;
        self.chunks.send(bytes).await.map_err(|_closed| PeerGone)
    }

    /// Returns when the peer has gone.
    pub async fn peer_gone(&self) {
        self.chunks.closed().await;
    }
}

/// Reads frames from a body.
#[derive(Debug)]
pub struct FrameReader {
    body: Incoming,
    decoder: Decoder,
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke.
    #[error("read the body")]
    Transport(#[source] hyper::Error),
    /// The bytes are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl FrameReader {
    /// Reads that body.
    pub fn new(body: Incoming) -> Self {
        Self { body, decoder: Decoder::default() }
    }

    /// The next frame; nothing after the last. May be dropped while waiting without losing anything.
    pub async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            let Some(chunk) = self.body.frame().await else {
                self.decoder.finish()?;
                return Ok(None);
            };
            if let Ok(bytes) = chunk.map_err(ReadError::Transport)?.into_data() {
                self.decoder.push(&bytes);
            }
        }
    }
}
