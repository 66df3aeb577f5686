//! The jail in which every VMM process runs.
//!
//! The engine re-executes a launcher program (see [`intercept`]) and hands it, over a socket, what to run and the descriptors
//! to run it with. The launcher forks; the parent reports the child's pid and exits, so that the VMM belongs to nobody; the child
//! confines itself, reports what it could apply ([`Confinement`]), waits until the engine has
//! written its record, and becomes the VMM.
//!
//! ```text
//! engine ---plan, descriptors---> launcher ---fork---> child: namespaces, root, uid, limits, landlock, seccomp
//!    <--------started: pid, pidfd-----'                  |
//!    <--------------------confined: report---------------'
//!    record written, ------------go--------------------->  exec
//! ```
//!
//! If the engine dies on the way, the child reads the end of the socket and exits. If the engine gives up on the way, it
//! kills the child.
//!
//! # A host that forbids namespaces
//!
//! Each layer stands by itself, and what a host refuses is named in the report. Never left out are the user id of its
//! own (as root), the resource limits, the loss of every privilege and the system call filter: where one of them fails,
//! nothing runs. Landlock is applied where the kernel has it. With these alone a VMM still cannot run a program, make or
//! connect a socket, signal anybody, trace anybody, or open any file but QEMU's own program, libraries and firmware and
//! what it was handed. What it can do then, and not otherwise:
//!
//! - learn which files and processes exist, and their sizes, owners and times (landlock does not cover `stat`, and
//!   `/proc` is the host's);
//! - learn the host's name;
//! - where it has no user namespace, be looked into by other processes of its user, as without Yama: that is how its memory is read;
//! - where the kernel has no landlock either: open files as its user id may, which as root is one that owns nothing, and
//!   as an ordinary user the person's own. `doctor` names both as missing.

mod child;
mod descriptors;
mod device;
mod filter;
mod opener;
mod private_root;
mod report;
mod spawn;
mod system;
mod wire;

pub(crate) use opener::open_as_user;
pub use report::{Confinement, Layer, Missing};
pub use spawn::{LaunchError, Launcher, probe};
pub(crate) use spawn::{Plan, run_hidden};
pub(crate) use wire::{FIRST_DESCRIPTOR, Limits};

/// First argument by which a program becomes the launcher.
const LAUNCH: &str = "__pyro-launch";
/// First argument by which a program opens a VMM's memory.
const OPEN: &str = "__pyro-open-memory";
/// First argument by which a program measures KVM.
pub(crate) const MEASURE_KVM: &str = "__pyro-measure-kvm";

/// Lets the program that calls it serve as launcher: a program named in [`Launcher`] calls this first in `main`. Returns
/// when it was started for something else, and otherwise never.
#[expect(clippy::exit, reason = "a launcher has no business in its host program's main")]
pub fn intercept() {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == LAUNCH => std::process::exit(child::launch()),
        Some(first) if first == OPEN => std::process::exit(opener::open_for_engine()),
        Some(first) if first == MEASURE_KVM => std::process::exit(crate::acceleration::measure_here()),
        _ => {}
    }
}
