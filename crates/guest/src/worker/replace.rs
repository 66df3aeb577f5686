//! `Replace`: a text in a file gives way to another, if it is there as often as the host believes.

use std::io::{Read as _, Write as _};

use memchr::{memchr_iter, memmem};
use pyro_protocol::work::{Replace, Replaced, WorkFailureCode, work_reply};
use pyro_tree::path::RelativePath;

use super::entry::entry;
use super::error::{Result, WorkError};
use super::read::open_regular;
use super::replacement::{Over, Replacement};
use super::workspace::Workspace;

/// Longest file, before and after.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most lines that are told.
const MAX_LINES: usize = 1_000;
/// Most lines that a message names.
const MAX_LINES_IN_MESSAGE: usize = 10;
const REPLACE: &str = "replace text in";

pub(crate) fn answer(workspace: &Workspace<'_>, request: &Replace) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    let invalid = |cause: &str| WorkError::about(WorkFailureCode::Invalid, REPLACE, &path, cause);
    if request.old.is_empty() {
        return Err(invalid("the text to be replaced is empty"));
    }
    let place = workspace.place(REPLACE, &path)?;
    let mut replacement = Replacement::begin(workspace, place, &path, None)?;
    if replacement.existing().is_none() {
        return Err(WorkError::about(WorkFailureCode::NotFound, REPLACE, &path, "it is not there"));
    }
    let (old, stat) = read_bounded(workspace, &path)?;
    let found = Occurrences::find(&old, &request.old);
    let fits = if request.count == 0 { found.count > 0 } else { found.count == request.count };
    if !fits {
        let cause = found.mismatch(request.count);
        return Err(WorkError::about(WorkFailureCode::CountMismatch, REPLACE, &path, cause));
    }
    let entry = if request.old == request.new {
        entry(path.as_bytes(), &stat)
    } else {
        let new_bytes = (old.len() as u64 - found.count * request.old.len() as u64)
            .saturating_add(found.count.saturating_mul(request.new.len() as u64));
        if new_bytes > MAX_FILE_BYTES {
            return Err(too_large(&path));
        }
        let new = replaced(&old, request, usize::try_from(new_bytes).unwrap_or(0));
        replacement.file.write_all(&new).map_err(WorkError::at(REPLACE, &path))?;
        replacement.commit(None, Over::Unchanged)?
    };
    Ok(work_reply::Body::Replaced(Replaced { count: found.count, lines: found.lines, entry: Some(entry) }))
}

fn too_large(path: &RelativePath) -> WorkError {
    let cause = format_args!("the file has more than {} MiB, or would have then", MAX_FILE_BYTES >> 20);
    WorkError::about(WorkFailureCode::TooLarge, REPLACE, path, cause)
}

fn read_bounded(workspace: &Workspace<'_>, path: &RelativePath) -> Result<(Vec<u8>, rustix::fs::Stat)> {
    let (file, stat) = open_regular(workspace, REPLACE, path)?;
    let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    if size_bytes > MAX_FILE_BYTES {
        return Err(too_large(path));
    }
    let mut content = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
    file.take(size_bytes).read_to_end(&mut content).map_err(WorkError::at(REPLACE, path))?;
    Ok((content, stat))
}

fn replaced(old: &[u8], request: &Replace, new_bytes: usize) -> Vec<u8> {
    let mut new = Vec::with_capacity(new_bytes);
    let mut copied = 0;
    for at in memmem::find_iter(old, &request.old) {
        new.extend_from_slice(&old[copied..at]);
        new.extend_from_slice(&request.new);
        copied = at + request.old.len();
    }
    new.extend_from_slice(&old[copied..]);
    new
}

/// Where a text is in a file, without overlaps.
struct Occurrences {
    count: u64,
    /// Lines where it begins, from 1; the first [`MAX_LINES`].
    lines: Vec<u64>,
}

impl Occurrences {
    fn find(content: &[u8], text: &[u8]) -> Self {
        let (mut count, mut lines) = (0, Vec::new());
        let (mut line, mut counted) = (1, 0);
        for at in memmem::find_iter(content, text) {
            count += 1;
            if lines.len() < MAX_LINES {
                line += memchr_iter(b'\n', &content[counted..at]).count() as u64;
                counted = at;
                lines.push(line);
            }
        }
        Self { count, lines }
    }

    fn mismatch(&self, wanted: u64) -> String {
        let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
        if self.count == 0 {
            return "the text is not there".to_owned();
        }
        let mut lines: Vec<_> = self.lines.iter().take(MAX_LINES_IN_MESSAGE).map(u64::to_string).collect();
        if self.count > lines.len() as u64 {
            lines.push("…".to_owned());
        }
        let word = if self.count == 1 { "line" } else { "lines" };
        format!(
            "the text is there {} ({word} {}), not {}",
            times(self.count),
            lines.join(", "),
            times(wanted)
        )
    }
}
