//! PID 1 of every machine.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use pyro_guest::boot::{BootFailure, Initramfs, Stage, print_to_console};
use pyro_guest::port::Port;
use pyro_guest::{Agent, Served, System, power};

fn main() -> ExitCode {
    if !rustix::process::getpid().is_init() {
        return ExitCode::from(64); // only the kernel starts this program
    }
    std::panic::set_hook(Box::new(|panic| {
        print_to_console(&format!("pyro-agent-panicked {panic}").replace('\n', " "));
        power::off(None);
    }));
    let Err(failure) = boot_and_serve();
    failure.report();
    power::off(None)
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
        loop {
            match agent.serve(&mut port).await {
                Ok(Served::StreamEnded) => {} // that host is gone, the next one is served
                Ok(Served::DeadlineReached | Served::PoweredOff) => power::off(agent.disk()),
                Err(error) => return Err(serve("serve the host", io::Error::other(error))),
            }
        }
    })
}
