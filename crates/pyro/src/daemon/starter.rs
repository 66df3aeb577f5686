//! How a client brings a daemon to life: at most one at a time, whoever asks, and none if one has come meanwhile.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use pyro_api::{ErrorBody, ErrorCode, Starter, client::nobody_listens};

use super::{log, process::READY};
use crate::{layout::make_private, settings::Settings};

/// How long a daemon may take to get ready. It ends lost machines first, which takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts this program as a daemon.
#[derive(Clone, Debug)]
pub(crate) struct DaemonStarter {
    settings: Settings,
}

impl DaemonStarter {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Has a daemon end what one that was lost has left behind; returns when that is done. Whatever fault a test asked
    /// for was for the lost one.
    pub(crate) async fn replace_lost(mut self) -> Result<(), ErrorBody> {
        self.settings.faults.clear();
        self.start().await
    }

    fn start_blocking(&self) -> Result<(), ErrorBody> {
        let settings = &self.settings;
        let state = settings.state.display();
        make_private(&settings.state).map_err(|error| {
            unavailable(format!("cannot make the directory {state}: {error}"))
                .with_hint("set PYRO_HOME to a directory that you may write")
        })?;
        let lock = File::create(settings.start_lock()).and_then(|lock| lock.lock().map(|()| lock)).map_err(
            |error| unavailable(format!("cannot lock {}: {error}", settings.start_lock().display())),
        )?;
        // Whoever held the lock before may have started one.
        let ready = match settings.socket().connect() {
            Err(error) if nobody_listens(&error) => self.spawn().and_then(wait_until_ready),
            _ => Ok(()),
        };
        drop(lock);
        ready
    }

    fn spawn(&self) -> Result<Child, ErrorBody> {
        let cannot_start = |error: io::Error| unavailable(format!("cannot start the daemon: {error}"));
        let log = log::open(&self.settings.log()).map_err(cannot_start)?;
        let mut daemon = Command::new(program().map_err(cannot_start)?);
        if self.settings.faults.is_empty() {
            daemon.env_remove("PYRO_FAULT");
        }
        // It reads everything else where we did; this may have been a flag.
        if let Some(most) = self.settings.limits.max_workspaces {
            daemon.env("PYRO_MAX_WORKSPACES", most.to_string());
        }
        daemon
            .args(["daemon", "serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(cannot_start)
    }
}

/// This program: by its name, so that the newest release is started and process lists show it; and if it was removed
/// or replaced meanwhile, as what runs here.
fn program() -> io::Result<PathBuf> {
    let named = std::env::current_exe()?;
    Ok(if named.is_file() { named } else { PathBuf::from("/proc/self/exe") })
}

fn unavailable(text: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::DaemonUnavailable, text).with_work_started(false)
}

/// Reads the child's only line: that it is ready, or why not.
fn wait_until_ready(mut child: Child) -> Result<(), ErrorBody> {
    let mut told = String::new();
    if let Some(stdout) = child.stdout.take() {
        // The bytes are those of our own child, and few.
        let _read = BufReader::new(stdout.take(64 * 1024)).read_line(&mut told);
    }
    if told.trim_end() == READY {
        return Ok(());
    }
    Err(serde_json::from_str(&told).unwrap_or_else(|_| {
        let end = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        unavailable(format!("the daemon ended before it was ready ({end})"))
            .with_hint("its log is daemon.log in the data directory; `pyro doctor` may know more")
    }))
}

#[async_trait]
impl Starter for DaemonStarter {
    async fn start(&self) -> Result<(), ErrorBody> {
        let starter = self.clone();
        let starting = tokio::task::spawn_blocking(move || starter.start_blocking());
        match tokio::time::timeout(PATIENCE, starting).await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => {
                Err(ErrorBody::new(ErrorCode::Internal, format!("starting the daemon failed: {error}")))
            }
            Err(_) => Err(unavailable(format!("the daemon was not ready after {} s", PATIENCE.as_secs()))
                .with_hint("its log is daemon.log in the data directory")),
        }
    }
}
