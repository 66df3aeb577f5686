//! The agent's end of the byte stream, as in a machine: hosts come and go, one at a time, and it never ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::mpsc::UnboundedReceiver,
};

/// A port: reads and writes wait for a host; what a host left unread is gone with it.
#[derive(Debug)]
pub(super) struct Port {
    arriving: UnboundedReceiver<DuplexStream>,
    host: Option<DuplexStream>,
}

impl Port {
    /// A port at which hosts arrive.
    pub(super) fn new(arriving: UnboundedReceiver<DuplexStream>) -> Self {
        Self { arriving, host: None }
    }

    fn poll_host(&mut self, context: &mut Context<'_>) -> Poll<&mut DuplexStream> {
        if self.host.is_none() {
            // Without handles of the machine no host ever comes.
            match ready!(self.arriving.poll_recv(context)) {
                Some(host) => self.host = Some(host),
                None => return Poll::Pending,
            }
        }
        self.host.as_mut().map_or(Poll::Pending, Poll::Ready)
    }
}

impl AsyncRead for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let before = buffer.filled().len();
            let read = ready!(Pin::new(ready!(self.poll_host(context))).poll_read(context, buffer));
            if read.is_ok() && buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            self.host = None;
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match ready!(Pin::new(ready!(self.poll_host(context))).poll_write(context, bytes)) {
                Ok(count) => return Poll::Ready(Ok(count)),
                // The host left.
                Err(_) => self.host = None,
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
