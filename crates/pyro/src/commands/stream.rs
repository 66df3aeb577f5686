//! A streaming operation as this program sees it: output passed on or kept, standard input, signals, and a standard
//! output that nobody reads any more.
//!
//! The first signal asks the daemon for an early end and waits for it; the second ends this program at once.

use std::{
    fs::File,
    io::{ErrorKind, IsTerminal as _, Write as _},
};

use bytes::Bytes;
use pyro_api::{
    Call, Client, ClientError, ErrorBody, ErrorCode, Exchange, Output, client::Input, run::Collected,
};
use rustix::event::{PollFd, PollFlags};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
};

use super::signals::Signals;
use crate::output::{Failure, Status, stdout_failure};

/// Where the output of an operation goes.
pub(super) enum Sink<'a> {
    /// To our own standard output and error, as it comes.
    PassOn,
    /// Into the result.
    Collect { stdout: &'a mut Collected, stderr: &'a mut Collected },
    /// Standard output into a file; there is no other.
    File(&'a mut File),
    /// Nowhere.
    Drop,
}

/// What is shown beside the output.
pub(super) trait Watcher<E> {
    /// Something happened.
    fn event(&mut self, event: E);
    /// Output is about to be shown, or the end has come.
    fn clear(&mut self) {}
}

/// A streaming operation at work.
pub(super) struct Streaming<'s, C: Call> {
    exchange: Exchange<C>,
    signals: &'s mut Signals,
    /// What the first signal, or the closed output, has made of it.
    interruption: Option<Interruption>,
    /// Bytes of standard output and of standard error that have come.
    delivered: (u64, u64),
}

/// Why an operation ends early.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interruption {
    Signal(Status),
    OutputClosed,
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Ended {
    /// The daemon refused, failed or was lost.
    Client(ClientError),
    /// This program could not, or should not, go on.
    Here(Failure),
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Client(error) => error.into(),
            Ended::Here(failure) => failure,
        }
    }
}

impl<'s, C: Call> Streaming<'s, C> {
    /// Asks the daemon.
    pub(super) async fn begin(
        client: &Client,
        request: &C::Request,
        signals: &'s mut Signals,
    ) -> Result<Self, Ended> {
        let asked = tokio::select! {
            asked = client.stream::<C>(request) => asked,
            status = signals.next() => return Err(Ended::Here(Failure::Interrupted(status))),
        };
        let exchange = asked.map_err(Ended::Client)?;
        Ok(Self { exchange, signals, interruption: None, delivered: (0, 0) })
    }

    /// Passes our standard input on until it ends or the daemon wants no more.
    pub(super) fn pass_stdin(&self) {
        let input = self.exchange.input();
        tokio::spawn(async move {
            if pass(tokio::io::stdin(), &input).await != Passed::Unwanted {
                input.stdin_eof().await;
            }
        });
    }

    /// Passes all of a source on. If it cannot be read to its end, the operation is cancelled, and what is returned here
    /// says why.
    pub(super) fn pass_whole(
        &self,
        source: impl AsyncRead + Send + Unpin + 'static,
    ) -> oneshot::Receiver<ErrorKind> {
        let (failed, failure) = oneshot::channel();
        let input = self.exchange.input();
        tokio::spawn(async move {
            match pass(source, &input).await {
                Passed::Whole => input.stdin_eof().await,
                Passed::Unwanted => {}
                Passed::Broken(kind) => {
                    // Told before the end comes, so that it is there by then.
                    let _told = failed.send(kind);
                    input.cancel().await;
                }
            }
        });
        failure
    }

    /// What has ended it early, if anything.
    pub(super) fn interruption(&self) -> Option<Interruption> {
        self.interruption
    }

    /// Bytes of standard output and of standard error that have come.
    pub(super) fn delivered(&self) -> (u64, u64) {
        self.delivered
    }

    /// Follows it to its end.
    pub(super) async fn follow(
        &mut self,
        sink: &mut Sink<'_>,
        watcher: &mut impl Watcher<C::Event>,
    ) -> Result<C::Result, Ended> {
        let watches_output = matches!(sink, Sink::PassOn);
        let output_closed = output_closed();
        tokio::pin!(output_closed);
        loop {
            tokio::select! {
                output = self.exchange.next() => match output {
                    Ok(Output::Stdout(bytes)) => {
                        watcher.clear();
                        self.deliver(sink, &bytes, false).await?;
                    }
                    Ok(Output::Stderr(bytes)) => {
                        watcher.clear();
                        self.deliver(sink, &bytes, true).await?;
                    }
                    Ok(Output::Event(event)) => watcher.event(event),
                    Ok(Output::Result(result)) => {
                        watcher.clear();
                        let interrupted = |interruption: Interruption| Err(Ended::Here(interruption.into()));
                        return self.interruption.map_or(Ok(result), interrupted);
                    }
                    Err(error) => {
                        watcher.clear();
                        return Err(Ended::Client(error));
                    }
                },
                status = self.signals.next() => {
                    if self.interruption.is_some() {
                        return Err(Ended::Here(Failure::Interrupted(status)));
                    }
                    self.interrupt(Interruption::Signal(status));
                }
                () = &mut output_closed, if watches_output && self.interruption.is_none() => {
                    self.interrupt(Interruption::OutputClosed);
                }
            }
        }
    }

    /// Asks for an early end; the daemon answers when everything is cleaned up.
    fn interrupt(&mut self, interruption: Interruption) {
        self.interruption = Some(interruption);
        let input = self.exchange.input();
        tokio::spawn(async move { input.cancel().await });
    }

    /// Passes output on, or keeps it. What comes after an interruption is dropped.
    async fn deliver(&mut self, sink: &mut Sink<'_>, bytes: &[u8], is_error: bool) -> Result<(), Ended> {
        let delivered = if is_error { &mut self.delivered.1 } else { &mut self.delivered.0 };
        *delivered += bytes.len() as u64;
        match sink {
            _ if self.interruption.is_some() => Ok(()),
            Sink::Drop => Ok(()),
            Sink::Collect { stdout, stderr } => {
                let collected = if is_error { stderr } else { stdout };
                collected.push(bytes);
                Ok(())
            }
            Sink::File(_) if is_error => Ok(()),
            Sink::File(file) => file.write_all(bytes).map_err(|error| {
                let text = format!("cannot write what comes into a file: {error}");
                Ended::Here(ErrorBody::new(ErrorCode::FileFailed, text).into())
            }),
            Sink::PassOn => {
                let interruption = tokio::select! {
                    written = pass_on(bytes, is_error) => match written {
                        Ok(()) => return Ok(()),
                        // Nobody reads our standard error: the command's own business goes on.
                        Err(_) if is_error => return Ok(()),
                        Err(error) => match stdout_failure(&error) {
                            Failure::StdoutClosed => Interruption::OutputClosed,
                            failure => return Err(Ended::Here(failure)),
                        }
                    },
                    status = self.signals.next() => Interruption::Signal(status),
                };
                self.interrupt(interruption);
                Ok(())
            }
        }
    }
}

impl From<Interruption> for Failure {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Signal(status) => Self::Interrupted(status),
            Interruption::OutputClosed => Self::StdoutClosed,
        }
    }
}

/// Whether our standard input is passed on: not a terminal's, unless that is asked for.
pub(super) fn passes_stdin(interactive: bool, no_stdin: bool) -> bool {
    !no_stdin && (interactive || !std::io::stdin().is_terminal())
}

async fn pass_on(bytes: &[u8], is_error: bool) -> std::io::Result<()> {
    if is_error {
        let mut stderr = tokio::io::stderr();
        stderr.write_all(bytes).await?;
        stderr.flush().await
    } else {
        let mut stdout = tokio::io::stdout();
        stdout.write_all(bytes).await?;
        stdout.flush().await
    }
}

/// What became of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passed {
    /// All of it was passed on.
    Whole,
    /// The daemon wants no more.
    Unwanted,
    /// It could not be read to its end.
    Broken(ErrorKind),
}

async fn pass(mut source: impl AsyncRead + Unpin, input: &Input) -> Passed {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match source.read(&mut buffer).await {
            Ok(0) => return Passed::Whole,
            Err(error) => return Passed::Broken(error.kind()),
            Ok(count) => {
                if !input.stdin(Bytes::copy_from_slice(&buffer[..count])).await {
                    return Passed::Unwanted;
                }
            }
        }
    }
}

/// Returns when the reader of our standard output has gone; never for what has no reader, such as a file.
async fn output_closed() {
    let (gone, noticed) = oneshot::channel();
    // A thread of its own that is left behind waiting: a pipe cannot be watched otherwise without taking it over.
    std::thread::spawn(move || {
        let stdout = std::io::stdout();
        // Without events asked for, only errors and hang-ups are reported.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while rustix::event::poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
        // Nobody listens any more when the operation is over.
        let _told = gone.send(());
    });
    if noticed.await.is_err() {
        std::future::pending::<()>().await;
    }
}
