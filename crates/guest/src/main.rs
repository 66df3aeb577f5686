//! PID 1 of every machine; and, started by itself, its file worker.

use std::convert::Infallible;
use std::io::{self, Write};
use std::process::ExitCode;

use pyro_guest::boot::{BootFailure, Initramfs, Stage, print_to_console};
use pyro_guest::port::Port;
use pyro_guest::process::builtin::FILE_WORKER;
use pyro_guest::{Agent, Served, System, power, worker};

fn main() -> ExitCode {
    if !rustix::process::getpid().is_init() {
        return work();
    }
    std::panic::set_hook(Box::new(|panic| {
        if !rustix::process::getpid().is_init() {
            return; // a child that has not become its program yet
        }
        print_to_console(&format!("pyro-agent-panicked {panic}").replace('\n', " "));
        power::off(None);
    }));
    let Err(failure) = boot_and_serve();
    failure.report();
    power::off(None)
}

/// What the agent starts this program for. The kernel starts PID 1, and nobody else has a use for it.
fn work() -> ExitCode {
    const NOT_FOR_YOU: u8 = 64;
    let mut arguments = std::env::args_os().skip(1);
    let is_file_worker = arguments.next().is_some_and(|argument| argument == FILE_WORKER);
    if !is_file_worker || arguments.next().is_some() {
        return ExitCode::from(NOT_FOR_YOU);
    }
    match worker::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host reads it as the worker's last words.
            let _nobody_listens = writeln!(io::stderr(), "serve files: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Boots the machine, serves its hosts until one of them or the machine's deadline ends it, and powers it off.
fn boot_and_serve() -> Result<Infallible, BootFailure> {
    let ready = Initramfs::enter()?.load_modules()?.join_disks()?.switch()?.settle()?;
    let serve = |operation: &str, source: io::Error| BootFailure {
        stage: Stage::Serve,
        operation: operation.to_owned(),
        source,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| serve("start the event loop", error))?;
    runtime.block_on(async {
        let mut port = Port::new(ready.port).map_err(|error| serve("watch the port", error))?;
        let mut agent =
            Agent::new(System::Machine(ready.machine)).map_err(|error| serve("start the agent", error))?;
        agent.prepare();
        loop {
            match agent.serve(&mut port).await {
                Ok(Served::StreamEnded) => {} // that host is gone, the next one is served
                Ok(Served::DeadlineReached | Served::PoweredOff) => power::off(agent.disk()),
                Err(error) => return Err(serve("serve the host", io::Error::other(error))),
            }
        }
    })
}
