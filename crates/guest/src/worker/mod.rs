//! The file worker: a process of the agent's binary that does everything with files in the machine, so that PID 1 never
//! waits for a file system and a fault in a parser costs one worker.
//!
//! It reads requests ([`pyro_protocol::work`]) on its standard input, one after the other, and answers each on its
//! standard output with one final reply, perhaps after others. It ends when its host is gone.
//!
//! - `channel`: the pipes.
//! - `workspace`: paths that cannot leave `/workspace`; `walk`: a tree in order; `replacement`: a file that is
//!   exchanged in one step.
//! - `layers`, `overlay`, `aliases`: what was changed since the seed, from the overlay on the disk; `contents`, `renames`,
//!   `spool`: what is told of it.
//! - `incoming`: members of an archive compared with what is there; `synced`: what host and guest had in common last.
//! - one module for each request.
//!
//! Promises: whatever a request says and whatever lies in the workspace, the worker answers and goes on to the next
//! request, with memory bounded by what the request's bounds allow. What fails changes nothing, but for directories
//! that were made on the way.

mod aliases;
mod changes;
mod channel;
mod contents;
mod copy;
mod copy_tree;
mod delete;
mod diff;
mod diff_against;
mod disk;
mod duplicate;
mod entry;
mod error;
mod file_handle;
mod filter;
mod glob;
mod grep;
mod ignored;
mod incoming;
mod layers;
mod line_pattern;
mod line_search;
mod list;
mod make_directory;
mod move_entry;
mod node;
mod overlay;
mod pack;
mod patch;
mod path_pattern;
mod push;
mod read;
mod renames;
mod replace;
mod replacement;
mod seed;
mod spool;
mod stat;
mod synced;
mod walk;
mod workspace;
mod write;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use pyro_protocol::work::{WorkFailure, WorkFailureCode, work_reply, work_request};
use pyro_tree::beneath::Root;
use pyro_tree::transaction::{self, Durability, Trust};

use crate::kernel::TerminationHeld;
use crate::workspace_mount::{OverlayAttributes, WORKSPACE, mount_on};
use channel::{Incoming, Input, Output};
use error::{Result, WorkError};
pub use workspace::Mount;
use workspace::Workspace;

/// The descriptor on which a worker finds the root directory of the writable disk.
pub const DISK_DESCRIPTOR: i32 = 3;
/// Room wished for in either pipe.
const PIPE_BYTES: usize = 1 << 20;

/// Serves the host on standard input and output until it is gone. The root directory of the writable disk is open as
/// [`DISK_DESCRIPTOR`].
///
/// # Errors
/// No disk; or those of [`run`].
pub fn serve() -> io::Result<()> {
    let disk = File::open(format!("/proc/self/fd/{DISK_DESCRIPTOR}"))?;
    let input = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0)?);
    let output = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 0)?);
    for pipe in [&input, &output] {
        // Smaller ones, or none, cost time and nothing else.
        let _size = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    }
    run(Path::new(WORKSPACE), disk.into(), input, output)
}

/// Serves requests on the directory `workspace` until the input ends. `disk` is the root directory of the writable
/// disk.
///
/// # Errors
/// A pipe fails, or what the host sends is no message.
pub fn run(workspace: &Path, disk: OwnedFd, input: impl Read, output: impl Write) -> io::Result<()> {
    let mount = Mount { mount: mount_on, attributes: OverlayAttributes::Trusted };
    run_with(workspace, disk, mount, input, output)
}

/// The same with another way to mount the workspace over its seed.
///
/// # Errors
/// As [`run`].
#[expect(clippy::needless_pass_by_value, reason = "the disk is the worker's from here on")]
pub fn run_with(
    workspace: &Path,
    disk: OwnedFd,
    mount: Mount,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<()> {
    recover(workspace);
    let (mut input, mut output) = (Input::new(&mut input), Output::new(&mut output));
    let (has_nameless_files, termination_held) = (Cell::new(true), Cell::new(None));
    while let Some(incoming) = input.next_request()? {
        let answer = match incoming {
            Incoming::Unknown => Err(unsupported()),
            Incoming::Request(request) => {
                open(workspace, &disk, mount, &has_nameless_files, &termination_held)
                    .and_then(|workspace| answer(request, &workspace, &mut input, &mut output))
            }
        };
        let answer = answer.unwrap_or_else(|error| match input.abandoned() {
            Some(why) => work_reply::Body::Failure(WorkError::new(WorkFailureCode::Abandoned, why).into()),
            None => work_reply::Body::Failure(WorkFailure::from(error)),
        });
        if input.is_broken() || output.is_broken() {
            break;
        }
        if let Err(error) = output.send(answer) {
            if output.is_broken() {
                break;
            }
            // Such as the names of all the files of a very large patch: the work is done, but cannot be told.
            let error = WorkError::new(WorkFailureCode::TooLarge, format!("tell what was done: {error}"));
            output.send(work_reply::Body::Failure(error.into()))?;
        }
        output.flush()?;
        drop(termination_held.take());
    }
    Ok(())
}

/// A journal needs no seal in a machine, where nobody gains by forging one. What comes from outside has no say in the name: seeds,
/// pushes, patches and single files leave it out or are refused. Within, the directory is root's and closed to all others, and root
/// may do anything with `/workspace` anyway. Whatever the steps name is resolved beneath `/workspace`.
pub(crate) const TRUST: Trust<'static> = Trust::Owner;

/// Ends a change that a worker did not live to complete. Where that cannot be, the next change says why.
fn recover(workspace: &Path) {
    let _held = TerminationHeld::begin();
    if let Ok(root) = Root::open(workspace) {
        let _told_by_the_next = transaction::recover(&root, TRUST, Durability::Machine, &|_point| Ok(()));
    }
}

fn open<'a>(
    path: &'a Path,
    disk: &'a OwnedFd,
    mount: Mount,
    has_nameless_files: &'a Cell<bool>,
    termination_held: &'a Cell<Option<TerminationHeld>>,
) -> Result<Workspace<'a>> {
    let root = Root::open(path).map_err(|error| {
        let cause = error::cause_of(&error);
        WorkError::new(WorkFailureCode::Unspecified, format!("open `{}`: {cause}", path.display()))
    })?;
    // Another worker may be half way, or have died there. What is written now must not be replaced when that is completed.
    let _held = TerminationHeld::begin();
    let _told_by_the_next = transaction::settle(&root, TRUST, Durability::Machine, &|_point| Ok(()));
    Ok(Workspace { root, path, disk: disk.as_fd(), mount, has_nameless_files, termination_held })
}

/// Carries a request out. What it returns is the final reply.
fn answer(
    request: work_request::Body,
    workspace: &Workspace<'_>,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    use work_request::Body;
    match request {
        Body::Stat(request) => stat::answer(workspace, &request),
        Body::List(request) => list::answer(workspace, &request, output),
        Body::Read(request) => read::answer(workspace, &request, output),
        Body::Write(request) => write::answer(workspace, &request, input),
        Body::Replace(request) => replace::answer(workspace, &request),
        Body::MakeDirectory(request) => make_directory::answer(workspace, &request),
        Body::Move(request) => move_entry::answer(workspace, &request),
        Body::Copy(request) => copy::answer(workspace, &request),
        Body::Delete(request) => delete::answer(workspace, &request),
        Body::Glob(request) => glob::answer(workspace, &request, output),
        Body::Grep(request) => grep::answer(workspace, &request, output),
        Body::Seed(request) => seed::answer(workspace, &request, input),
        Body::Diff(request) => diff::answer(workspace, &request, output),
        Body::DiffAgainst(request) => diff_against::answer(workspace, &request, input, output),
        Body::Patch(request) => patch::answer(workspace, &request, input),
        Body::Push(request) => push::answer(workspace, &request, input),
        Body::Changes(request) => changes::answer(workspace, &request, output),
        Body::Pack(request) => pack::answer(workspace, &request, output),
        Body::Synced(request) => synced::answer(workspace, request),
        // The input never gives these two as requests.
        Body::Data(_) | Body::End(_) => Err(unsupported()),
    }
}

fn unsupported() -> WorkError {
    WorkError::new(
        WorkFailureCode::Unsupported,
        "understand a request that this machine's agent does not know",
    )
}
