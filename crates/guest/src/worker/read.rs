//! `Read`: a file or a part of it, by bytes or by lines.
//!
//! A line ends after its line feed, nothing else ends one; the last may have none. What is sent are the bytes as they
//! are. A file that grows meanwhile ends where it did when it was opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memchr_iter;
use pyro_protocol::work::{DATA_BYTES, Read, ReadDone, WorkFailureCode, work_reply};
use pyro_tree::path::RelativePath;
use rustix::fs::{FileType, OFlags, Stat, fstat};

use super::channel::Output;
use super::entry::{entry, type_of, word_for};
use super::error::{Result, WorkError};
use super::workspace::Workspace;

/// Bytes looked at together for ends of lines.
pub(crate) const SCAN_BYTES: usize = 64 << 10;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &Read,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    let (file, stat) = open_regular(workspace, "read", &path)?;
    let entry = entry(path.as_bytes(), &stat);
    let (range, total_lines) = if request.first_line == 0 {
        (request.offset.min(entry.size_bytes)..entry.size_bytes, None)
    } else {
        if request.last_line != 0 && request.last_line < request.first_line {
            let cause = format_args!("line {} is before line {}", request.last_line, request.first_line);
            return Err(WorkError::about(WorkFailureCode::Invalid, "read", &path, cause));
        }
        let last_line = if request.last_line == 0 { u64::MAX } else { request.last_line };
        let lines = Lines::find(&file, entry.size_bytes, request.first_line, last_line)
            .map_err(WorkError::at("read", &path))?;
        (lines.start..lines.end, lines.total)
    };
    let bound = if request.max_bytes == 0 { u64::MAX } else { request.max_bytes };
    let wanted_bytes = range.end - range.start;
    let end = range.start.saturating_add(bound).min(range.end);
    let mut offset = range.start;
    while offset < end {
        let piece_bytes = usize::try_from(end - offset).unwrap_or(usize::MAX).min(DATA_BYTES);
        let count = output
            .data_from(piece_bytes, |piece| read_at(&file, piece, offset))
            .map_err(WorkError::at("read", &path))?;
        if count == 0 {
            break;
        }
        offset += count as u64;
    }
    Ok(work_reply::Body::ReadDone(ReadDone {
        entry: Some(entry),
        truncated: wanted_bytes > bound,
        total_lines,
    }))
}

/// Opens a regular file, to which links may lead, and says what it is.
pub(crate) fn open_regular(
    workspace: &Workspace<'_>,
    operation: &str,
    path: &RelativePath,
) -> Result<(File, Stat)> {
    // Without waiting, or a named pipe would hold us until somebody opens its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = workspace.open(path.as_bytes(), flags).map_err(|error| match error {
        // What an open socket and a device without a driver say.
        rustix::io::Errno::NXIO | rustix::io::Errno::NODEV | rustix::io::Errno::ACCESS => {
            WorkError::about(WorkFailureCode::WrongType, operation, path, "it is no regular file")
        }
        error => WorkError::resolving(operation, path)(error),
    })?;
    let stat = fstat(&file).map_err(WorkError::at(operation, path))?;
    match type_of(&stat) {
        FileType::RegularFile => Ok((File::from(file), stat)),
        other => {
            let cause = format_args!("it is {}", word_for(other));
            Err(WorkError::about(WorkFailureCode::WrongType, operation, path, cause))
        }
    }
}

/// One piece, again when a signal came.
pub(crate) fn read_at(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(piece, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Where lines lie in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lines {
    /// Their first byte; the end of the file if it has not so many lines.
    pub(crate) start: u64,
    /// The byte behind the last one's end.
    pub(crate) end: u64,
    /// Lines of the file, if its end had to be looked for.
    pub(crate) total: Option<u64>,
}

impl Lines {
    /// Finds the lines from `first` (from 1) to `last`, included, in the first `size_bytes` of a file. `last` may be one
    /// less than `first`: no lines, but their place.
    pub(crate) fn find(file: &File, size_bytes: u64, first: u64, last: u64) -> io::Result<Self> {
        let mut piece = vec![0; SCAN_BYTES.min(usize::try_from(size_bytes).unwrap_or(SCAN_BYTES))];
        let mut line = 1;
        let mut start = (first <= 1).then_some(0);
        if last == 0 {
            return Ok(Self { start: 0, end: 0, total: None });
        }
        let (mut offset, mut ends_open) = (0, false);
        while offset < size_bytes {
            let wanted = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX).min(piece.len());
            let count = read_at(file, &mut piece[..wanted], offset)?;
            let Some(last_byte) = piece[..count].last() else { break };
            ends_open = *last_byte != b'\n';
            for at in memchr_iter(b'\n', &piece[..count]) {
                line += 1;
                let behind = offset + at as u64 + 1;
                if line == first {
                    start = Some(behind);
                }
                // `last` + 1 lines have begun: the one before is whole.
                if line > last {
                    let start = start.unwrap_or(behind);
                    // Its end may be the file's end too.
                    let total = (behind == size_bytes).then_some(line - 1);
                    return Ok(Self { start, end: behind, total });
                }
            }
            offset += count as u64;
        }
        let total = if ends_open { line } else { line - 1 };
        Ok(Self { start: start.unwrap_or(offset), end: offset, total: Some(total) })
    }
}
