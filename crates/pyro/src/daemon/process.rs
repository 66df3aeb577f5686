//! The daemon's own process: how it detaches, becomes the only one, says that it is ready, and ends.
//!
//! Its standard output is the pipe of whoever started it: one line `ready`, or an error as JSON, and then the
//! end. It learns nothing else from its starter than its environment.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::Arc,
};

use pyro_api::{ErrorBody, ErrorCode, SocketPath, error::chain_text};
use rustix::{
    fs::{Mode, inotify},
    io::Errno,
};
use tokio::signal::unix::{SignalKind, signal};

use super::{Service, inherited, library::Library, listener::Listener, log, server::Server};
use crate::{layout::make_private, process_traits, settings::Settings};

/// What a starter waits for.
pub(super) const READY: &str = "ready";

/// Runs the daemon to its end. Must be called first thing in the process.
pub(crate) fn begin() -> u8 {
    inherited::close_all();
    let told = detach().and_then(|settings| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| failed("start the runtime", &error))?;
        let lived = runtime.block_on(live(&settings));
        // A thread may still be waiting for another daemon to end.
        runtime.shutdown_background();
        lived
    });
    match told {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(code = %error.code, "{error}");
            // If the starter has gone there is nobody to tell.
            let _told = io::stdout().write_all(&serde_json::to_vec(&error).unwrap_or_default());
            error.code.exit_status()
        }
    }
}

fn failed(operation: &str, error: &(dyn std::error::Error + 'static)) -> ErrorBody {
    ErrorBody::new(ErrorCode::DaemonUnavailable, format!("cannot {operation}: {}", chain_text(error)))
}

/// Leaves the terminal, the working directory, the file mode and the limits of the starter behind.
fn detach() -> Result<Settings, ErrorBody> {
    // Fails only for the leader of a process group, that is when a person runs it by hand from a shell.
    let _session = rustix::process::setsid();
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let settings = Settings::from_environment()?;
    std::env::set_current_dir("/").map_err(|error| failed("enter /", &error))?;
    make_private(&settings.state)
        .map_err(|error| failed(&format!("make the directory {}", settings.state.display()), &error))?;
    log::begin(&settings.log(), &settings.log_filter).map_err(|error| failed("open the log", &error))?;
    process_traits::adopt_orphans();
    process_traits::allow_many_files();
    Ok(settings)
}

async fn live(settings: &Settings) -> Result<(), ErrorBody> {
    let Some(life) = become_the_one(settings).await? else {
        return say_ready(settings);
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "begins");
    let library = Library::open(settings).await?;
    let socket = settings.socket();
    let listener = Listener::bind(&socket)
        .map_err(|error| failed(&format!("listen at {}", socket.path().display()), &error))?;
    let server = Arc::new(Server::new(
        library,
        socket.path().display().to_string(),
        settings.log().display().to_string(),
    ));
    stop_on_signals(&server)?;
    say_ready(settings)?;
    let service = Service { socket, start_lock: settings.start_lock(), idle: settings.daemon_idle };
    let served = tokio::select! {
        served = service.serve(listener, &server) => served.map_err(|error| failed("serve", &error)),
        Err(error) = process_traits::see_off_orphans() => Err(failed("watch for signals", &error)),
    };
    drop(life);
    served
}

fn stop_on_signals<H: super::handler::Handler>(server: &Arc<Server<H>>) -> Result<(), ErrorBody> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(|error| failed("watch for signals", &error))?;
        let stop = server.stop().clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}

/// Tells the starter and lets go of its pipe; from here on only the log hears from this process.
fn say_ready(settings: &Settings) -> Result<(), ErrorBody> {
    // A starter that has gone does not matter to those who come after it.
    let _told = writeln!(io::stdout(), "{READY}");
    let log = log::open(&settings.log()).map_err(|error| failed("open the log", &error))?;
    rustix::stdio::dup2_stdout(&log).map_err(|error| failed("leave standard output", &error))
}

/// Waits until this is the only daemon, and returns the lock that makes it so. Returns nothing when another one
/// turns out to serve: it was there all the time, but its socket was not.
async fn become_the_one(settings: &Settings) -> Result<Option<File>, ErrorBody> {
    let path = settings.life_lock();
    let cannot_lock = |error: io::Error| failed(&format!("lock {}", path.display()), &error);
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(cannot_lock)?;
    if lock.try_lock().is_ok() {
        return Ok(Some(lock));
    }
    let socket = settings.socket();
    let other_ended = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let other_answers = tokio::task::spawn_blocking(move || wait_for_socket(&socket));
    let waiting_failed = |error: tokio::task::JoinError| failed("wait for the other daemon", &error);
    tokio::select! {
        locked = other_ended => locked.map_err(waiting_failed)?.map(Some).map_err(cannot_lock),
        found = other_answers => found
            .map_err(waiting_failed)?
            .map(|()| None)
            .map_err(|error| failed("watch the runtime directory", &error)),
    }
}

/// Returns when somebody listens at the socket. Blocks.
fn wait_for_socket(socket: &SocketPath) -> io::Result<()> {
    make_private(socket.directory())?;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let made = inotify::WatchFlags::CREATE | inotify::WatchFlags::ATTRIB | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, socket.directory(), made)?;
    // The watch was there before the first look, so nothing is missed between them.
    while socket.connect().is_err() {
        match rustix::io::read(&watch, &mut [0_u8; 4096]) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
