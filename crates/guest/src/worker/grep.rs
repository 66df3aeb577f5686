//! `Grep`: the lines below a directory, or in one file, that match a pattern.

use std::fs::File;
use std::io;

use prost::Message as _;
use pyro_protocol::work::{Grep, Listed, Match, Matches, work_reply};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::channel::Output;
use super::entry::type_of;
use super::error::{Result, WorkError, quoted};
use super::ignored::Ignored;
use super::line_pattern::LinePattern;
use super::line_search::{LineSearch, MAX_CONTEXT, Searched};
use super::path_pattern::PathPatterns;
use super::read::open_regular;
use super::walk::{Step, Walk};
use super::workspace::Workspace;

/// Bytes of a line that are shown when the host does not say.
const DEFAULT_LINE_BYTES: u32 = 2_000;
/// Most bytes of a line that are shown.
const MAX_LINE_BYTES: u32 = 256 << 10;
/// From so many bytes on matches are sent.
const BATCH_BYTES: usize = 32 << 10;
/// Files that a note names.
const MAX_NAMED: usize = 5;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &Grep,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    let pattern = LinePattern::new(&request.pattern, request.fixed, request.ignore_case)?;
    let include = PathPatterns::new(&request.include)?;
    let line_bytes = if request.max_line_bytes == 0 { DEFAULT_LINE_BYTES } else { request.max_line_bytes };
    let line_bytes = usize::try_from(line_bytes.min(MAX_LINE_BYTES)).unwrap_or(usize::MAX);
    let context = if request.names_only { 0 } else { request.context };
    let mut search = LineSearch::new(&pattern, context, line_bytes);
    let mut found = Found::new(request, context);
    let top = workspace
        .open(path.as_bytes(), OFlags::PATH)
        .and_then(fstat)
        .map_err(WorkError::resolving("search", &path))?;
    if type_of(&top) != FileType::Directory {
        let (file, stat) = open_regular(workspace, "search", &path)?;
        found
            .search(&mut search, &file, stat.st_size, path.as_bytes(), output)
            .map_err(WorkError::at("search", &path))?;
        return found.finish(output, Vec::new());
    }
    let prefix_bytes = if path.is_root() { 0 } else { path.as_bytes().len() + 1 };
    let mut ignored = request.respect_gitignore.then(|| Ignored::above(workspace, &path));
    let mut walk = Walk::new(workspace, &path)?.start()?;
    while let Some(step) = walk.step()? {
        let kind = match step {
            Step::Left => {
                if let Some(ignored) = &mut ignored {
                    ignored.leave(walk.path());
                }
                continue;
            }
            Step::Found(kind) => kind,
        };
        let is_directory = kind == FileType::Directory;
        if ignored.as_ref().is_some_and(|ignored| ignored.ignores(walk.path(), is_directory)) {
            continue;
        }
        if is_directory {
            if walk.enter()?
                && let Some(ignored) = &mut ignored
            {
                ignored.enter(walk.path(), walk.directory()?);
            }
        } else if kind == FileType::RegularFile
            && include.matches(walk.path().get(prefix_bytes..).unwrap_or_default())
            && !found.search_walked(&mut search, &mut walk, output)?
        {
            break;
        }
    }
    let notes = walk.take_notes();
    found.finish(output, notes)
}

/// What was found, on its way to the host up to a bound.
struct Found<'a> {
    request: &'a Grep,
    matches: Vec<Match>,
    bytes: usize,
    /// How many matches (of files, with `names_only`) may still come.
    left: u64,
    is_truncated: bool,
    context: u32,
    /// How many lines behind the last match may still come.
    context_left: u32,
    binary: LeftOut,
    long: LeftOut,
}

/// Files that were left out: some of their names and how many there are.
#[derive(Default)]
struct LeftOut {
    names: Vec<String>,
    count: u64,
}

impl<'a> Found<'a> {
    fn new(request: &'a Grep, context: u32) -> Self {
        Self {
            request,
            matches: Vec::new(),
            bytes: 0,
            left: if request.limit == 0 { u64::MAX } else { request.limit },
            is_truncated: false,
            context: context.min(MAX_CONTEXT),
            context_left: 0,
            binary: LeftOut::default(),
            long: LeftOut::default(),
        }
    }

    /// Searches the file that a walk has found; false if no more is wanted.
    fn search_walked(
        &mut self,
        search: &mut LineSearch<'_>,
        walk: &mut Walk<'_>,
        output: &mut Output<'_>,
    ) -> Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(walk.directory()?, walk.name(), flags, Mode::empty())
            .and_then(|file| fstat(&file).map(|stat| (File::from(file), stat)));
        let (file, stat) = match opened {
            Ok((file, stat)) if type_of(&stat) == FileType::RegularFile => (file, stat),
            // Gone, or something else, since it was found.
            Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(true),
            Err(error) => {
                let cause = super::error::cause_of(&error.into());
                walk.note(format!("{} cannot be read: {cause}", quoted(walk.path())));
                return Ok(true);
            }
        };
        let searched = self.search(search, &file, stat.st_size, walk.path(), output);
        match searched {
            Err(error) if !output.is_broken() => {
                let cause = super::error::cause_of(&error);
                walk.note(format!("{} cannot be read: {cause}", quoted(walk.path())));
                Ok(true)
            }
            searched => Ok(searched? != Searched::Stopped),
        }
    }

    fn search(
        &mut self,
        search: &mut LineSearch<'_>,
        file: &File,
        size_bytes: i64,
        path: &[u8],
        output: &mut Output<'_>,
    ) -> io::Result<Searched> {
        let size_bytes = u64::try_from(size_bytes).unwrap_or(0);
        self.context_left = 0;
        let mut lines = 0;
        let searched = search.search(file, size_bytes, path, |found| {
            if self.request.names_only {
                lines += 1;
                return Ok(true);
            }
            self.take(found, output)
        })?;
        match searched {
            Searched::Binary => self.binary.add(path),
            Searched::LongLine => self.long.add(path),
            Searched::Whole | Searched::Stopped => {}
        }
        if lines > 0 {
            let file = Match { path: path.to_vec(), line: lines, text: Vec::new(), is_context: false };
            if !self.take(file, output)? {
                return Ok(Searched::Stopped);
            }
        }
        Ok(searched)
    }

    /// Takes a line; false if there may be no more matches.
    fn take(&mut self, found: Match, output: &mut Output<'_>) -> io::Result<bool> {
        if found.is_context {
            // When no other match may come, what stands before one is not wanted.
            if self.left == 0 && self.context_left == 0 {
                return Ok(true);
            }
            self.context_left = self.context_left.saturating_sub(1);
        } else {
            if self.left == 0 {
                self.is_truncated = true;
                return Ok(false);
            }
            self.left -= 1;
            self.context_left = self.context;
        }
        self.bytes += found.encoded_len();
        self.matches.push(found);
        if self.bytes >= BATCH_BYTES { self.send(output).map(|()| true) } else { Ok(true) }
    }

    fn send(&mut self, output: &mut Output<'_>) -> io::Result<()> {
        if self.matches.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        output.send(work_reply::Body::Matches(Matches { matches: std::mem::take(&mut self.matches) }))
    }

    fn finish(mut self, output: &mut Output<'_>, mut notes: Vec<String>) -> Result<work_reply::Body> {
        self.send(output)?;
        notes.extend(self.binary.note("binary and not searched to the end"));
        notes.extend(self.long.note("not searched from a line on that is longer than 8 MiB"));
        Ok(work_reply::Body::Done(Listed { truncated: self.is_truncated, notes }))
    }
}

impl LeftOut {
    fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.names.len() < MAX_NAMED {
            self.names.push(quoted(path));
        }
    }

    fn note(&self, what: &str) -> Option<String> {
        let more = self.count.saturating_sub(self.names.len() as u64);
        let names = self.names.join(", ");
        match (self.count, more) {
            (0, _) => None,
            (1, _) => Some(format!("{names} is {what}")),
            (_, 0) => Some(format!("{names} are {what}")),
            (_, more) => Some(format!("{names} and {more} more are {what}")),
        }
    }
}
