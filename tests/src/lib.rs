//! Harness of the guest-backed suites: the real `pyro` binary, real machines, one hermetic home for each test.
//!
//! - [`Settings`]: which binary is tested and where the warm cache lies. A missing precondition fails the test
//!   with the command that mends it; nothing is ever skipped.
//! - [`warm`]: makes the environment and the template once, for all tests and all later runs.
//! - [`Home`]: one test's world. When it is dropped it stops its daemon and asserts that nothing is left:
//!   no machine directory, no process, no error in the daemon's log.
//! - [`Invocation`], [`Running`], [`Outcome`]: one `pyro` process before, during and after its life.
//! - [`LiveMachine`], [`Process`]: what the host sees of a machine.
//!
//! Tests wait for events (a line, a pidfd, inotify) and never for time to pass; every wait has a bound, after
//! which the test fails and says what it had waited for.

mod capture;
mod events;
mod home;
mod invocation;
mod leftovers;
mod machine;
mod mounts;
mod outcome;
mod process;
mod running;
mod settings;
mod slots;
pub mod warm;

pub use {
    events::wait_until,
    home::{Home, text_of},
    invocation::Invocation,
    machine::LiveMachine,
    mounts::mount_wrapper,
    outcome::Outcome,
    process::Process,
    running::Running,
    rustix::process::Signal,
    settings::{ENVIRONMENT, Settings},
};
