//! `Write`: a file, or a part of it, gets new content in one step.

use std::fs::File;
use std::io::{self, BufRead as _, Seek as _, SeekFrom, Write as _};

use pyro_protocol::work::{WorkFailureCode, Write, Written, work_reply};
use pyro_tree::path::RelativePath;

use super::channel::Input;
use super::error::{Result, WorkError};
use super::read::{Lines, open_regular, read_at};
use super::replacement::{Over, Replacement};
use super::workspace::Workspace;

const WRITE: &str = "write";
/// How far a line's end is looked for, to be like it.
const NEAR_BYTES: u64 = 64 << 10;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &Write,
    input: &mut Input<'_>,
) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    check(request, &path)?;
    if request.append || request.first_line > 0 {
        return edit(workspace, request, &path, input);
    }
    let place = workspace.place_to_be(WRITE, &path)?;
    let mut replacement = Replacement::begin(workspace, place, &path, request.mode)?;
    let created = replacement.existing().is_none();
    if request.create_only && !created {
        return Err(WorkError::about(WorkFailureCode::Exists, WRITE, &path, "something is there already"));
    }
    let written_bytes = take(input, &mut replacement.file, request.max_bytes, &path)?;
    let over = if request.create_only { Over::Nothing } else { Over::Anything };
    let entry = replacement.commit(request.mode, over)?;
    Ok(work_reply::Body::Written(Written { entry: Some(entry), written_bytes, created }))
}

/// Adds to a file or replaces lines of it: the rest is copied around what comes. What comes in the place of lines is lines:
/// where others follow it ends its last one, and the one before it, if they have no end of their own.
fn edit(
    workspace: &Workspace<'_>,
    request: &Write,
    path: &RelativePath,
    input: &mut Input<'_>,
) -> Result<work_reply::Body> {
    let place =
        if request.append { workspace.place_to_be(WRITE, path)? } else { workspace.place(WRITE, path)? };
    let mut replacement = Replacement::begin(workspace, place, path, request.mode)?;
    let created = replacement.existing().is_none();
    if created && !request.append {
        return Err(WorkError::about(
            WorkFailureCode::NotFound,
            WRITE,
            path,
            "it is not there, so it has no lines",
        ));
    }
    let failed = || WorkError::at(WRITE, path);
    let mut rest = None;
    let mut ending = None;
    if !created {
        let (mut old, stat) = open_regular(workspace, WRITE, path)?;
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let (start, end) = if request.append {
            (size_bytes, size_bytes)
        } else {
            lines_to_replace(&old, size_bytes, request, path)?
        };
        copy_range(&mut old, &mut replacement.file, 0, start).map_err(failed())?;
        if !request.append {
            let near = LineEnding::near(&old, size_bytes, end).map_err(failed())?;
            // A line before that has no end would go on with what comes.
            if !input.fill_buf()?.is_empty() {
                near.add_if_missing(&mut replacement.file).map_err(failed())?;
            }
            ending = Some(near).filter(|_| end < size_bytes);
        }
        rest = Some((old, end, size_bytes - end));
    }
    let written_bytes = take(input, &mut replacement.file, request.max_bytes, path)?;
    if let Some(ending) = ending {
        ending.add_if_missing(&mut replacement.file).map_err(failed())?;
    }
    if let Some((mut old, end, length)) = rest {
        copy_range(&mut old, &mut replacement.file, end, length).map_err(failed())?;
    }
    let entry = replacement.commit(request.mode, Over::Unchanged)?;
    Ok(work_reply::Body::Written(Written { entry: Some(entry), written_bytes, created }))
}

fn check(request: &Write, path: &RelativePath) -> Result<()> {
    let lines = request.first_line..=request.last_line;
    let cause = if request.mode.is_some_and(|mode| mode > 0o7777) {
        "the mode is none"
    } else if request.append && request.first_line > 0 {
        "either to the end or to lines, not to both"
    } else if request.create_only && (request.append || request.first_line > 0) {
        "what is to be new has nothing to be changed"
    } else if request.first_line > 0
        && lines.end().checked_add(1).is_some_and(|behind| behind < *lines.start())
    {
        "the last line is before the first"
    } else {
        return Ok(());
    };
    Err(WorkError::about(WorkFailureCode::Invalid, WRITE, path, cause))
}

/// Where the lines lie that the request replaces.
fn lines_to_replace(
    file: &File,
    size_bytes: u64,
    request: &Write,
    path: &RelativePath,
) -> Result<(u64, u64)> {
    let (first, last) = (request.first_line, request.last_line);
    let lines = Lines::find(file, size_bytes, first, last).map_err(WorkError::at(WRITE, path))?;
    // Where the file's end was not reached, it has the lines.
    match lines.total {
        Some(total) if last > total || first > total.saturating_add(1) => {
            let cause = format_args!("line {} is beyond its {total} lines", last.max(first));
            Err(WorkError::about(WorkFailureCode::Invalid, WRITE, path, cause))
        }
        _ => Ok((lines.start, lines.end)),
    }
}

/// How lines of a file end.
#[derive(Clone, Copy)]
struct LineEnding(&'static [u8]);

impl LineEnding {
    /// As the line before `offset` does that has an end, or else the one behind.
    fn near(file: &File, size_bytes: u64, offset: u64) -> io::Result<Self> {
        let start = offset.saturating_sub(NEAR_BYTES);
        let before = piece(file, start, offset - start)?;
        let at = match memchr::memrchr(b'\n', &before) {
            Some(at) => Some((before, at)),
            None => {
                let behind = piece(file, offset, NEAR_BYTES.min(size_bytes - offset))?;
                memchr::memchr(b'\n', &behind).map(|at| (behind, at))
            }
        };
        let is_crlf = at.is_some_and(|(piece, at)| piece[..at].ends_with(b"\r"));
        Ok(Self(if is_crlf { b"\r\n" } else { b"\n" }))
    }

    /// Ends the last line of a file that is written, if it has one without an end.
    fn add_if_missing(self, file: &mut File) -> io::Result<()> {
        let length = file.stream_position()?;
        if length == 0 || piece(file, length - 1, 1)? == b"\n" {
            return Ok(());
        }
        file.write_all(self.0)
    }
}

/// A part of a file; shorter where that ends.
fn piece(file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < piece.len() {
        match read_at(file, &mut piece[filled..], start + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// Writes all the input; says how much that was.
fn take(input: &mut Input<'_>, file: &mut File, max_bytes: u64, path: &RelativePath) -> Result<u64> {
    let mut written_bytes = 0;
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            return Ok(written_bytes);
        }
        let count = piece.len();
        written_bytes += count as u64;
        if max_bytes > 0 && written_bytes > max_bytes {
            let cause = format_args!("the content has more than the {max_bytes} bytes allowed");
            return Err(WorkError::about(WorkFailureCode::TooLarge, WRITE, path, cause));
        }
        file.write_all(piece).map_err(WorkError::at(WRITE, path))?;
        input.consume(count);
    }
}

/// Adds a part of one file to another, in the kernel.
fn copy_range(from: &mut File, to: &mut File, start: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    from.seek(SeekFrom::Start(start))?;
    let copied = io::copy(&mut io::Read::take(&mut *from, length), to)?;
    if copied == length { Ok(()) } else { Err(io::Error::other("it became shorter meanwhile")) }
}
