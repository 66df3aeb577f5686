//! Where in a file a hunk belongs.
//!
//! As GNU patch does it, with two exceptions that are safer. A hunk fits at the line it states, moved by as much as
//! the hunk before was, or else at the nearest line around it. A side that has less context than the other is at the
//! start or end of the file. If that fails, the outermost lines of context are left aside, one on each side with
//! fuzz 1, two with fuzz 2 (less on a side that has less).
//!
//! The exceptions: context that is lopsided because somebody wrote it so, not because the file ends there, is
//! accepted at the stated line, and elsewhere if all the hunk's lines stand at one place only. And fuzz never leaves
//! all old lines aside, so that no hunk goes in just anywhere.

use crate::{Line, LineKind, lines};

/// Most lines of context that are left aside on each side.
pub const MAX_FUZZ: usize = 2;

/// Comparisons of lines for all hunks of a file: a tenth of a second. Ordinary files need a hundredth of it at most.
const MAX_COMPARISONS: u64 = 20_000_000;

/// A file's lines and how hunk lines are compared with them.
pub(crate) struct Target<'f> {
    pub(crate) lines: Vec<&'f [u8]>,
    /// Carriage returns at the ends of the file's lines are not compared.
    pub(crate) ignore_cr: bool,
    comparisons: u64,
}

/// A hunk as it is searched for.
pub(crate) struct Pattern<'p, 'h> {
    /// Context and removed lines.
    pub(crate) old: &'p [&'h Line<'h>],
    /// Lines of context before the first change and behind the last.
    pub(crate) leading: usize,
    pub(crate) trailing: usize,
    /// The file ends with this hunk, without a newline.
    pub(crate) ends_file: bool,
}

/// Where a hunk fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Index of the line that the first old line stands for. It lies before the file if fuzz left that line aside.
    pub(crate) at: isize,
    /// Fuzz with which it fits.
    pub(crate) fuzz: usize,
    /// Old lines left aside at either end.
    pub(crate) skipped: (usize, usize),
}

/// The search was longer than is worth waiting for.
pub(crate) struct TooMuchSearch;

/// The middle of a pattern: what is left of it under some fuzz.
#[derive(Clone, Copy)]
struct Core {
    skipped: (usize, usize),
    length: usize,
    fuzz: usize,
}

impl<'f> Target<'f> {
    pub(crate) fn new(lines: Vec<&'f [u8]>, ignore_cr: bool) -> Self {
        Self { lines, ignore_cr, comparisons: 0 }
    }

    /// Where the pattern fits, at or behind `from` and as near to `guess` as can be; both are indices of lines.
    pub(crate) fn locate(
        &mut self,
        pattern: &Pattern<'_, '_>,
        from: usize,
        guess: usize,
    ) -> Result<Option<Place>, TooMuchSearch> {
        let whole = Core { skipped: (0, 0), length: pattern.old.len(), fuzz: 0 };
        if guess >= from && self.fits(pattern, whole, guess)? {
            return Ok(Some(whole.place(guess)));
        }
        let context = pattern.leading.max(pattern.trailing);
        for fuzz in 0..=MAX_FUZZ.min(context) {
            let at_start = fuzz + pattern.leading < context;
            let at_end = fuzz + pattern.trailing < context;
            let skipped = (
                (fuzz + pattern.leading).saturating_sub(context),
                (fuzz + pattern.trailing).saturating_sub(context),
            );
            let length = pattern.old.len().saturating_sub(skipped.0 + skipped.1);
            if length == 0 {
                break;
            }
            let core = Core { skipped, length, fuzz };
            let found = match (at_start, at_end) {
                (true, _) => self.only(pattern, core, from, 0)?,
                (false, true) => {
                    let Some(last) = self.lines.len().checked_sub(length) else { continue };
                    self.only(pattern, core, from, last)?
                }
                (false, false) => self.nearest(pattern, core, from, guess + skipped.0)?,
            };
            if let Some(at) = found {
                return Ok(Some(core.place(at)));
            }
            if fuzz == 0
                && (at_start || at_end)
                && let Some(at) = self.unique(pattern, core, from)?
            {
                return Ok(Some(core.place(at)));
            }
        }
        Ok(None)
    }

    /// At `at` or not at all.
    fn only(
        &mut self,
        pattern: &Pattern<'_, '_>,
        core: Core,
        from: usize,
        at: usize,
    ) -> Result<Option<usize>, TooMuchSearch> {
        Ok((at >= from && self.fits(pattern, core, at)?).then_some(at))
    }

    fn nearest(
        &mut self,
        pattern: &Pattern<'_, '_>,
        core: Core,
        from: usize,
        guess: usize,
    ) -> Result<Option<usize>, TooMuchSearch> {
        let Some(last) = self.lines.len().checked_sub(core.length).filter(|last| *last >= from) else {
            return Ok(None);
        };
        let nearest = guess.clamp(from, last);
        for away in nearest.abs_diff(guess)..=guess.abs_diff(from).max(guess.abs_diff(last)) {
            let behind = guess.checked_add(away).filter(|at| (from..=last).contains(at));
            let before = guess.checked_sub(away).filter(|at| away > 0 && (from..=last).contains(at));
            for at in [behind, before].into_iter().flatten() {
                if self.fits(pattern, core, at)? {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }

    /// The one place where it fits, if there is exactly one.
    fn unique(
        &mut self,
        pattern: &Pattern<'_, '_>,
        core: Core,
        from: usize,
    ) -> Result<Option<usize>, TooMuchSearch> {
        let Some(last) = self.lines.len().checked_sub(core.length) else { return Ok(None) };
        let mut found = None;
        for at in from..=last {
            if self.fits(pattern, core, at)? && found.replace(at).is_some() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    fn fits(&mut self, pattern: &Pattern<'_, '_>, core: Core, at: usize) -> Result<bool, TooMuchSearch> {
        let end = at.saturating_add(core.length);
        if end > self.lines.len() || (pattern.ends_file && end + core.skipped.1 < self.lines.len()) {
            return Ok(false);
        }
        let old = &pattern.old[core.skipped.0..core.skipped.0 + core.length];
        let equal =
            (at..end).zip(old).take_while(|(at, line)| self.is_same(*at, line, core.fuzz > 0)).count();
        // Long lines count for more.
        let bytes = old[..equal].iter().map(|line| line.text.len() / 64).sum::<usize>();
        self.comparisons = self.comparisons.saturating_add((equal + bytes + 1) as u64);
        if self.comparisons > MAX_COMPARISONS {
            return Err(TooMuchSearch);
        }
        Ok(equal == core.length)
    }

    /// Whether the file has that line there. With fuzz, a newline may be missing at the end of the file although the
    /// patch does not say so, or be there although it says that none is.
    pub(crate) fn is_same(&self, at: usize, line: &Line<'_>, fuzzy: bool) -> bool {
        let Some(whole) = self.lines.get(at) else { return false };
        let (text, terminated) = lines::text(whole);
        let text = if self.ignore_cr && terminated { lines::without_cr(text) } else { text };
        text == line.text && (terminated == line.terminated || (fuzzy && at + 1 == self.lines.len()))
    }

    /// Where most of the old lines are, to tell what is different there. A short look only.
    pub(crate) fn best(&self, old: &[&Line<'_>], from: usize, guess: usize) -> usize {
        const MAX_LOOKS: usize = 2_000_000;
        let guess = guess.min(self.lines.len());
        let span = self.lines.len().saturating_sub(from);
        if span.saturating_mul(old.len()) > MAX_LOOKS {
            return guess;
        }
        let same = |at: usize| (at..).zip(old).filter(|(at, line)| self.is_same(*at, line, true)).count();
        let mut best = (same(guess), guess);
        for at in from..self.lines.len() {
            let count = same(at);
            if count > best.0 || (count == best.0 && at.abs_diff(guess) < best.1.abs_diff(guess)) {
                best = (count, at);
            }
        }
        best.1
    }
}

impl Core {
    fn place(self, at: usize) -> Place {
        // Both are counts of things in memory.
        let at = at.cast_signed() - self.skipped.0.cast_signed();
        Place { at, fuzz: self.fuzz, skipped: self.skipped }
    }
}

impl<'p, 'h> Pattern<'p, 'h> {
    /// The pattern of a hunk, whose old lines are `old`.
    pub(crate) fn new(hunk: &'h [Line<'h>], old: &'p [&'h Line<'h>]) -> Self {
        let is_context = |line: &&Line<'_>| line.kind == LineKind::Context;
        let leading = hunk.iter().take_while(is_context).count();
        let trailing = hunk[leading..].iter().rev().take_while(is_context).count();
        let last_new = hunk.iter().rfind(|line| line.kind != LineKind::Removed);
        let ends_file = last_new.is_some_and(|line| !line.terminated);
        Self { old, leading, trailing, ends_file }
    }
}
