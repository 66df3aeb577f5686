//! Applying the hunks of one file to its content.
//!
//! Bytes are kept: context is taken from the file, not from the patch, and a final newline comes or goes as the patch
//! says. Where hunks may go is told in the module about locating them.
//!
//! **Carriage returns.** They are content. A patch whose header lines end in them came through a transport that
//! added one to each line, which reading takes off again. A patch without any, for a file where each line
//! has one, was written by somebody who did not see them: it applies as if the file had none, and the lines it
//! adds get one. This is decided for the file as a whole.

use crate::{
    ApplyError, ApplyFault, Change, FilePatch, Hunk, Line, LineKind,
    lines::{self, excerpt},
    locate::{Pattern, Place, Target, TooMuchSearch},
};

pub use crate::locate::MAX_FUZZ;

/// The outcome for one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The file's content afterwards; empty for a deleted one.
    pub content: Vec<u8>,
    /// Where each hunk went.
    pub placements: Vec<Placement>,
    /// The file has carriage returns, the patch has none, and lines were added with them.
    pub added_cr: bool,
}

/// Where a hunk went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Line of the old file that its first line stands for, counted from 1; of a hunk without old lines, the line
    /// behind which it adds, 0 for the top. As `old_start` in its header.
    pub line: usize,
    /// By how much that is more than the header states.
    pub offset: isize,
    /// Lines of context left aside on each side: 0 to [`MAX_FUZZ`].
    pub fuzz: usize,
}

/// Applies a file's hunks to its content; `old` is that of [`FilePatch::source`], empty for an added file.
///
/// Modes, links and names are for the caller to check and change.
///
/// # Errors
///
/// The first hunk that does not fit, with what was expected and what is there.
pub fn apply(file: &FilePatch<'_>, old: &[u8]) -> Result<Applied, ApplyError> {
    apply_hunks(file, old).map_err(|fault| ApplyError { path: file.path.clone(), fault })
}

fn apply_hunks(file: &FilePatch<'_>, old: &[u8]) -> Result<Applied, ApplyFault> {
    if file.change == Change::Add && !old.is_empty() {
        return Err(ApplyFault::HasContent);
    }
    if lines::are_too_many(old) {
        return Err(ApplyFault::TooManyLines);
    }
    let old_lines: Vec<&[u8]> = lines::split(old).collect();
    let added_cr = lacks_cr(&file.hunks) && lines::all_crlf(&old_lines);
    let mut growing = Growing::new(Target::new(old_lines, added_cr), old.len());
    let mut carried = 0_isize;
    let mut placements = Vec::with_capacity(file.hunks.len());
    for (index, hunk) in file.hunks.iter().enumerate() {
        let placement = growing.apply(index + 1, hunk, carried)?;
        carried = placement.offset;
        placements.push(placement);
    }
    let content = growing.finish();
    if file.change == Change::Delete && !content.is_empty() {
        return Err(ApplyFault::LeavesContent);
    }
    Ok(Applied { content, placements, added_cr })
}

/// Whether the hunks have old lines, and none with a carriage return.
fn lacks_cr(hunks: &[Hunk<'_>]) -> bool {
    let mut lines = hunks.iter().flat_map(|hunk| &hunk.lines);
    let mut has_old = false;
    lines.all(|line| {
        has_old |= line.kind != LineKind::Added && line.terminated;
        !line.text.ends_with(b"\r")
    }) && has_old
}

/// The new content while it grows.
struct Growing<'f> {
    target: Target<'f>,
    content: Vec<u8>,
    /// Index of the first line that is neither copied nor removed.
    next: usize,
}

impl<'f> Growing<'f> {
    fn new(target: Target<'f>, old_bytes: usize) -> Self {
        Self { target, content: Vec::with_capacity(old_bytes), next: 0 }
    }

    /// Finds the hunk's place and makes its changes there.
    fn apply(&mut self, number: usize, hunk: &Hunk<'_>, carried: isize) -> Result<Placement, ApplyFault> {
        let old: Vec<&Line<'_>> = hunk.lines.iter().filter(|line| line.kind != LineKind::Added).collect();
        // Without old lines the start is the line before.
        let stated = if old.is_empty() { hunk.old_start } else { hunk.old_start.saturating_sub(1) };
        let guess = stated.saturating_add_signed(carried);
        let place = if old.is_empty() {
            self.place_insertion(number, guess)?
        } else {
            self.locate(number, hunk, &old, guess)?
        };
        self.change(hunk, place);
        let line = usize::try_from(place.at).unwrap_or(0) + usize::from(!old.is_empty());
        let start = if old.is_empty() { stated } else { stated + 1 };
        Ok(Placement { line, offset: line.cast_signed() - start.cast_signed(), fuzz: place.fuzz })
    }

    /// A hunk without old lines has nothing to look for: its line number must do.
    fn place_insertion(&self, number: usize, guess: usize) -> Result<Place, ApplyFault> {
        let lines = self.target.lines.len();
        // An empty file has but one place.
        let at = if lines == 0 { 0 } else { guess };
        if at > lines {
            return Err(ApplyFault::BehindEnd { hunk: number, line: at, lines });
        }
        if at < self.next {
            return Err(ApplyFault::Misordered { hunk: number, line: at });
        }
        Ok(Place { at: at.cast_signed(), fuzz: 0, skipped: (0, 0) })
    }

    fn locate(
        &mut self,
        number: usize,
        hunk: &Hunk<'_>,
        old: &[&Line<'_>],
        guess: usize,
    ) -> Result<Place, ApplyFault> {
        let pattern = Pattern::new(&hunk.lines, old);
        let too_much = |TooMuchSearch| ApplyFault::TooMuchSearch { hunk: number };
        if let Some(place) = self.target.locate(&pattern, self.next, guess).map_err(too_much)? {
            return Ok(place);
        }
        if self.next > 0
            && let Some(place) = self.target.locate(&pattern, 0, guess).map_err(too_much)?
            && place.fuzz == 0
        {
            let line = usize::try_from(place.at).unwrap_or(0) + 1;
            return Err(ApplyFault::Misordered { hunk: number, line });
        }
        Err(self.mismatch(number, hunk, old, guess))
    }

    fn mismatch(&self, number: usize, hunk: &Hunk<'_>, old: &[&Line<'_>], guess: usize) -> ApplyFault {
        let at = self.target.best(old, self.next, guess);
        let differs = |index: &usize| !self.target.is_same(at + index, old[*index], false);
        let first = (0..old.len()).find(differs).unwrap_or(0);
        let ending = |terminated| if terminated { "" } else { " (no newline at end of file)" };
        let found = self.target.lines.get(at + first).map(|line| {
            let (text, terminated) = lines::text(line);
            excerpt(text) + ending(terminated)
        });
        ApplyFault::Mismatch {
            hunk: number,
            patch_line: patch_line(hunk, first),
            file_line: at + first + 1,
            expected: excerpt(old[first].text) + ending(old[first].terminated),
            found,
        }
    }

    /// Copies what lies before each change and makes it.
    fn change(&mut self, hunk: &Hunk<'_>, place: Place) {
        let mut at = place.at;
        for line in &hunk.lines {
            // Only context can lie before the file's start.
            let here = usize::try_from(at).unwrap_or(0);
            match line.kind {
                LineKind::Context => at += 1,
                LineKind::Removed => {
                    self.copy_up_to(here);
                    self.next = here + 1;
                    at += 1;
                }
                LineKind::Added => {
                    self.copy_up_to(here);
                    self.add(line);
                }
            }
        }
    }

    fn copy_up_to(&mut self, end: usize) {
        let end = end.min(self.target.lines.len());
        for at in self.next..end {
            let line = self.target.lines[at];
            self.end_line();
            self.content.extend_from_slice(line);
        }
        self.next = self.next.max(end);
    }

    fn add(&mut self, line: &Line<'_>) {
        self.end_line();
        self.content.extend_from_slice(line.text);
        if line.terminated {
            self.content.extend_from_slice(self.newline());
        }
    }

    /// What comes behind a line without a newline must not run into it.
    fn end_line(&mut self) {
        if self.content.last().is_some_and(|last| *last != b'\n') {
            self.content.extend_from_slice(self.newline());
        }
    }

    fn newline(&self) -> &'static [u8] {
        if self.target.ignore_cr { b"\r\n" } else { b"\n" }
    }

    fn finish(mut self) -> Vec<u8> {
        self.copy_up_to(self.target.lines.len());
        self.content
    }
}

/// Line of the patch where a hunk's old line stands. Markers between the lines count too.
fn patch_line(hunk: &Hunk<'_>, old_index: usize) -> usize {
    let mut line = hunk.line;
    let mut old_lines = 0;
    for hunk_line in &hunk.lines {
        line += 1;
        if hunk_line.kind != LineKind::Added {
            if old_lines == old_index {
                break;
            }
            old_lines += 1;
        }
        line += usize::from(!hunk_line.terminated);
    }
    line
}
