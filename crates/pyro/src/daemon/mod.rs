//! The daemon: the one process of a user that owns machines, and how clients bring it to life.
//!
//! States: *waiting* for the life lock, *opening* the store, *serving*, then one of two ends. For want of work:
//! it takes the start lock, so that nobody starts another one meanwhile, gives up its socket, and if somebody
//! had connected by then serves on; otherwise it exits. When told to: it gives up its socket, cancels what is in
//! work, waits for the clean-up and exits. Promises: there is one daemon for each store; a request whose
//! connection was accepted is answered; a lost runtime directory is made again within a second.

mod activity;
mod answers;
pub(crate) mod assembly;
mod attended;
pub(crate) mod convert;
mod exchange;
mod faults;
mod handler;
mod inherited;
mod library;
mod listener;
mod log;
mod process;
mod server;
mod starter;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use pyro_api::SocketPath;
use tokio::time::{MissedTickBehavior, interval, timeout};

pub(crate) use self::{faults::fault_points, process::begin, starter::DaemonStarter};
use self::{handler::Handler, listener::Listener, server::Server};

/// How often the daemon looks whether its socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an ending daemon waits for machines to be cleaned up. What is left then, the next one ends.
const PATIENCE_FOR_CLEAN_UP: Duration = Duration::from_secs(20);

/// What a serving daemon needs to know.
#[derive(Debug)]
struct Service {
    socket: SocketPath,
    start_lock: PathBuf,
    idle: Duration,
}

/// Why serving goes on or ends.
enum Turn {
    GoOn(Listener),
    End,
}

impl Service {
    /// Serves until there is no work for long enough or the server is told to stop.
    async fn serve<H: Handler>(&self, mut listener: Listener, server: &Arc<Server<H>>) -> io::Result<()> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(stream) => server.serve(stream),
                    // Out of descriptors, most likely: those in work give theirs back.
                    Err(error) => {
                        tracing::warn!(%error, "a client could not be accepted");
                        look.tick().await;
                    }
                },
                () = server.activity().idle_for(self.idle) => match self.end_for_want_of_work(listener, server)? {
                    Turn::GoOn(again) => listener = again,
                    Turn::End => return Ok(()),
                },
                _ = look.tick() => if !listener.is_in_place() {
                    tracing::warn!(socket = %self.socket.path().display(), "the socket is gone; making it again");
                    // As long as it cannot be made, the next look tries again.
                    match Listener::bind(&self.socket) {
                        Ok(again) => listener = again,
                        Err(error) => tracing::error!(%error, "the socket cannot be made"),
                    }
                },
                () = server.stop().cancelled() => {
                    for stream in listener.retire()? {
                        server.serve(stream);
                    }
                    return self.wait_for_clean_up(server).await;
                }
            }
        }
    }

    fn end_for_want_of_work<H: Handler>(
        &self,
        listener: Listener,
        server: &Arc<Server<H>>,
    ) -> io::Result<Turn> {
        let lock = std::fs::File::create(&self.start_lock)?;
        // Somebody who starts a daemon is about to ask for something.
        if server.live() > 0 || lock.try_lock().is_err() {
            server.activity().postpone();
            return Ok(Turn::GoOn(listener));
        }
        let connected = listener.retire()?;
        if connected.is_empty() {
            tracing::info!("ends for want of work");
            // The lock goes with the process, together with the life lock.
            std::mem::forget(lock);
            return Ok(Turn::End);
        }
        for stream in connected {
            server.serve(stream);
        }
        Listener::bind(&self.socket).map(Turn::GoOn)
    }

    async fn wait_for_clean_up<H: Handler>(&self, server: &Server<H>) -> io::Result<()> {
        tracing::info!(live = server.live(), requests = server.activity().in_work(), "ends as it was told");
        let cleaned_up = async {
            server.activity().idle_for(Duration::ZERO).await;
            let mut look = interval(Duration::from_millis(20));
            while server.live() > 0 {
                look.tick().await;
            }
        };
        if timeout(PATIENCE_FOR_CLEAN_UP, cleaned_up).await.is_err() {
            tracing::warn!(live = server.live(), "ends although machines live; the next daemon ends them");
        }
        Ok(())
    }
}
