//! Reading patches of many files, as `git diff`, `git format-patch`, `diff -u` and language models write them.
//!
//! What stands before, between and behind the files (mail headers, messages, prose) is skipped, as long as nothing
//! in it looks like an edit: an edit is never dropped in silence.

mod body;
mod header;
mod label;

use std::collections::HashMap;

use crate::{
    Change, FilePatch, FilePath, ParseError, ParseFault, Patch,
    lines::{excerpt, text, without_cr},
};

/// Reads a patch. Lines of the result point into `patch`.
///
/// # Errors
///
/// Says where and in which file the first fault is.
pub fn parse(patch: &[u8]) -> Result<Patch<'_>, ParseError> {
    if patch.iter().all(u8::is_ascii_whitespace) {
        return Err(ParseError { line: 1, file: None, fault: ParseFault::Blank });
    }
    let mut reader = Reader::new(patch);
    let mut files = Vec::new();
    while let Some(line) = reader.header_line() {
        if line.starts_with(b"diff --git ") {
            files.push(header::git(&mut reader)?);
        } else if reader.has_labels() {
            files.push(header::plain(&mut reader)?);
        } else {
            reader.refuse_stray()?;
            reader.advance();
        }
    }
    if files.is_empty() {
        return Err(ParseError { line: 1, file: None, fault: ParseFault::NoFiles });
    }
    refuse_duplicates(&files)?;
    Ok(Patch { files })
}

/// The patch as lines, and how far it is read.
struct Reader<'a> {
    lines: Vec<&'a [u8]>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(patch: &'a [u8]) -> Self {
        Self { lines: crate::lines::split(patch).map(|line| text(line).0).collect(), at: 0 }
    }

    /// The line at an index, as it is.
    fn raw(&self, at: usize) -> Option<&'a [u8]> {
        self.lines.get(at).copied()
    }

    /// The line at an index as one of a header, where carriage returns are of the transport.
    fn header_line_at(&self, at: usize) -> Option<&'a [u8]> {
        self.raw(at).map(without_cr)
    }

    fn header_line(&self) -> Option<&'a [u8]> {
        self.header_line_at(self.at)
    }

    fn advance(&mut self) {
        self.at += 1;
    }

    /// First index from `at` whose line is not blank.
    fn past_blank(&self, at: usize) -> usize {
        (at..self.lines.len()).find(|at| !self.lines[*at].trim_ascii().is_empty()).unwrap_or(self.lines.len())
    }

    /// Whether the two lines here are the labels of a file.
    fn has_labels(&self) -> bool {
        self.labels_at(self.at).is_some()
    }

    /// The labels at an index, without their signs.
    fn labels_at(&self, at: usize) -> Option<(&'a [u8], &'a [u8])> {
        let old = self.header_line_at(at)?.strip_prefix(b"--- ")?;
        let new = self.header_line_at(at + 1)?.strip_prefix(b"+++ ")?;
        Some((old, new))
    }

    /// Whether labels stand at an index and a hunk behind them: what within a hunk ends it.
    fn file_at(&self, at: usize) -> bool {
        self.labels_at(at).is_some() && self.starts_hunk(at + 2)
    }

    fn starts_hunk(&self, at: usize) -> bool {
        self.raw(at).is_some_and(|line| line.starts_with(b"@@ -"))
    }

    /// Refuses a line between files that looks like a part of one.
    fn refuse_stray(&self) -> Result<(), ParseError> {
        let line = self.header_line().unwrap_or_default();
        let hunk_follows = self.starts_hunk(self.at + 1);
        let fault = if line.starts_with(b"@@ -") {
            ParseFault::StrayHunk
        } else if line.starts_with(b"@@@ ")
            || line.starts_with(b"diff --cc ")
            || line.starts_with(b"diff --combined ")
        {
            ParseFault::Combined
        } else if line.starts_with(b"--- ") && hunk_follows {
            ParseFault::NoNewLabel
        } else if line.starts_with(b"+++ ") && hunk_follows {
            ParseFault::NoOldLabel
        } else if let Some(name) = header::binary_note(line) {
            ParseFault::Binary { name }
        } else {
            return Ok(());
        };
        Err(self.error(self.at, None, fault))
    }

    fn error(&self, at: usize, file: Option<&str>, fault: ParseFault) -> ParseError {
        ParseError { line: at + 1, file: file.map(str::to_owned), fault }
    }

    fn path(&self, at: usize, name: &[u8]) -> Result<FilePath, ParseError> {
        FilePath::new(name).map_err(|fault| {
            let name = excerpt(name);
            self.error(at, None, ParseFault::Path { name, fault })
        })
    }
}

/// No path may be written twice, none taken away twice, and none deleted that was just added. Deleting a file and
/// adding one in its place is how its kind changes; two files may swap names.
fn refuse_duplicates(files: &[FilePatch<'_>]) -> Result<(), ParseError> {
    let mut taken: HashMap<&FilePath, usize> = HashMap::new();
    let mut written: HashMap<&FilePath, usize> = HashMap::new();
    for file in files {
        let takes = match &file.change {
            Change::Add | Change::Copy { .. } => None,
            Change::Delete | Change::Modify => Some(&file.path),
            Change::Rename { from } => Some(from),
        };
        let writes = (file.change != Change::Delete).then_some(&file.path);
        let twice = match &file.change {
            Change::Delete => written.get(&file.path).copied(),
            _ => None,
        };
        let twice = twice
            .or_else(|| takes.and_then(|path| taken.insert(path, file.line)))
            .or_else(|| writes.and_then(|path| written.insert(path, file.line)));
        if let Some(first) = twice {
            let fault = ParseFault::Duplicate { first };
            return Err(ParseError { line: file.line, file: Some(file.path.to_string()), fault });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
