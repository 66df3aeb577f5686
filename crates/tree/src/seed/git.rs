//! What git tracks of a directory: the names from git's index, the contents from the working copy.
//!
//! `git` itself is asked, since the index has several versions and extensions, and it is the user's own
//! repository. It runs with the given environment only, takes no locks, and runs neither hooks nor a file monitor. Taken are
//! tracked files as they are now (edited ones too, deleted ones not), the directories that hold them, those of
//! submodules that are checked out, and `.git` itself, so that the repository works where it arrives.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    attributes::FileKind,
    notes::Remark,
    pack::Packer,
    path::{BadPath, RelativePath},
    walk::{Everything, Selection},
};

/// How git is run.
#[derive(Clone, Debug)]
pub struct Git {
    /// The program: a path, or a name to be found in `PATH` of the environment.
    pub program: PathBuf,
    /// All its environment: `PATH`, and `HOME` for the user's settings (`safe.directory` among them).
    pub environment: Vec<(OsString, OsString)>,
}

/// Why git did not say what it tracks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such program.
    #[error("`{program}` was not found; it is needed to take only what git tracks", program = .program.display())]
    NoGit {
        /// Which one.
        program: PathBuf,
    },
    /// It could not be run.
    #[error("run `{program} ls-files`", program = .program.display())]
    Run {
        /// Which one.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It failed: no repository, or one it does not trust.
    #[error("git does not list `{directory}`: {said}", directory = .directory.display())]
    Refused {
        /// Which directory.
        directory: PathBuf,
        /// The end of what it wrote to stderr.
        said: String,
    },
    /// It named a path that is none.
    #[error("git lists `{path}`")]
    BadPath {
        /// In printable form.
        path: String,
        /// What is wrong with it.
        #[source]
        source: BadPath,
    },
}

/// What git tracks below one directory, which may lie inside a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tracked {
    /// Sorted, each once, from that directory.
    pub paths: BTreeSet<RelativePath>,
}

const MAX_SAID_BYTES: usize = 500;

/// Asks git what it tracks below `directory`.
pub fn tracked(git: &Git, directory: &Path) -> Result<Tracked, Error> {
    let program = &git.program;
    let output = Command::new(program)
        .args([
            "--no-optional-locks",
            "--no-pager",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(["ls-files", "-z", "--cached", "--recurse-submodules"])
        .current_dir(directory)
        .env_clear()
        .envs(git.environment.iter().map(|(name, value)| (name, value)))
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound if directory.is_dir() => Error::NoGit { program: program.clone() },
            _ => Error::Run { program: program.clone(), source },
        })?;
    if !output.status.success() {
        let end = output.stderr.len().saturating_sub(MAX_SAID_BYTES);
        let said = String::from_utf8_lossy(&output.stderr[end..]).trim().replace('\n', "; ");
        return Err(Error::Refused { directory: directory.to_owned(), said });
    }
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| {
        RelativePath::new(name)
            .map_err(|source| Error::BadPath { path: crate::path::printable(name), source })
    });
    Ok(Tracked { paths: paths.collect::<Result<_, _>>()? })
}

/// Packs the tracked files that `selection` takes, with the directories on the way to them and `.git`. What git lists and
/// the working copy no longer has is left out. An error is the output's.
pub fn pack_tracked<W: Write>(
    packer: &mut Packer<'_, W>,
    tracked: &Tracked,
    selection: &mut dyn Selection,
) -> io::Result<()> {
    packer.append(&RelativePath::root())?;
    pack_repository(packer, &RelativePath::root())?;
    let mut packed = BTreeSet::from([RelativePath::root()]);
    // The directories on the way to the path at hand that the selection has been shown. Paths are sorted, so all
    // those of one directory follow each other.
    let mut entered = Vec::new();
    enter(packer, selection, &mut entered, RelativePath::root());
    for path in &tracked.paths {
        while entered.last().is_some_and(|directory| path.below(directory).is_none()) {
            entered.pop();
            selection.leave();
        }
        let mut above: Vec<_> = path.ancestors().collect();
        above.reverse();
        let is_within = above.iter().skip(entered.len() - 1).all(|directory| {
            let is_taken = selection.takes(directory, FileKind::Directory);
            if is_taken {
                enter(packer, selection, &mut entered, directory.clone());
            }
            is_taken
        });
        if !is_within || !selection.takes(path, FileKind::File) || !packer.has(path) {
            continue;
        }
        for directory in above {
            if packed.insert(directory.clone()) {
                packer.append(&directory)?;
                pack_repository(packer, &directory)?;
            }
        }
        packer.append(path)?;
    }
    Ok(())
}

/// Shows a directory to the selection; one that is gone has nothing to say.
fn enter<W: Write>(
    packer: &mut Packer<'_, W>,
    selection: &mut dyn Selection,
    entered: &mut Vec<RelativePath>,
    directory: RelativePath,
) {
    packer.show(&directory, selection);
    entered.push(directory);
}

/// Packs `.git` of a directory, if it has one: the repository, or in a submodule or worktree the file that says where it is.
fn pack_repository<W: Write>(packer: &mut Packer<'_, W>, directory: &RelativePath) -> io::Result<()> {
    let Ok(path) = directory.child(".git") else { return Ok(()) };
    if !packer.has(&path) {
        return Ok(());
    }
    if directory.is_root() && packer.kind(&path) == Some(FileKind::File) {
        packer.note(&path, Remark::RepositoryElsewhere);
    }
    packer.append_tree(&path, &mut Everything)
}
