//! Writing what changed in one file, as `git diff` does.

use imara_diff::{Algorithm, Diff, InternedInput};

use crate::{FilePath, Mode, Similarity, Stat, blob, heading::Headings, is_binary, lines, quote};

/// One side of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side<'a> {
    /// Where the file is on this side.
    pub path: &'a FilePath,
    /// What it is.
    pub mode: Mode,
    /// Its content; a symbolic link's target.
    pub content: &'a [u8],
}

/// How to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteOptions {
    /// Lines of context around a change.
    pub context: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { context: 3 }
    }
}

/// Appends what turns `old` into `new` and counts its lines. `None` is a file that does not exist. Two paths make
/// a rename. Nothing is written if nothing changed.
///
/// A file whose kind changed, from or to a symbolic link, is written as one that goes and one that comes. Of binary
/// content only the fact is written; [`Stat::binary`] tells.
pub fn write(out: &mut Vec<u8>, old: Option<Side<'_>>, new: Option<Side<'_>>, options: WriteOptions) -> Stat {
    match (old, new) {
        (Some(old), Some(new)) if !old.mode.is_same_kind(new.mode) => {
            let gone = write(out, Some(old), None, options);
            let come = write(out, None, Some(new), options);
            Stat {
                added: gone.added + come.added,
                removed: gone.removed + come.removed,
                binary: gone.binary || come.binary,
            }
        }
        (None, None) => Stat::default(),
        (old, new) => Writer { out, old, new, options }.write(),
    }
}

/// Appends that the contents of two files differ, without looking at them: for those that are too long. A file whose kind
/// changed is written as one that goes and one that comes.
pub fn write_unread(out: &mut Vec<u8>, old: Option<Side<'_>>, new: Option<Side<'_>>) -> Stat {
    match (old, new) {
        (Some(old), Some(new)) if !old.mode.is_same_kind(new.mode) => {
            write_unread(out, Some(old), None);
            write_unread(out, None, Some(new));
        }
        (None, None) => {}
        (old, new) => {
            let mut writer = Writer { out, old, new, options: WriteOptions::default() };
            writer.write_names_and_modes();
            writer.write_that_they_differ();
        }
    }
    Stat { binary: true, ..Stat::default() }
}

/// Counts the lines that [`write`] would write, without writing them.
pub fn stat(old: Option<Side<'_>>, new: Option<Side<'_>>) -> Stat {
    match (old, new) {
        (Some(old), Some(new)) if !old.mode.is_same_kind(new.mode) => {
            let (gone, come) = (stat(Some(old), None), stat(None, Some(new)));
            Stat { added: come.added, removed: gone.removed, binary: gone.binary || come.binary }
        }
        (old, new) => {
            let (before, after) = (content(old), content(new));
            if before == after {
                Stat::default()
            } else if is_binary(before) || is_binary(after) {
                Stat { binary: true, ..Stat::default() }
            } else {
                count(&difference(&input(before, after)))
            }
        }
    }
}

fn content(side: Option<Side<'_>>) -> &[u8] {
    side.map_or(b"", |side| side.content)
}

fn input<'c>(before: &'c [u8], after: &'c [u8]) -> InternedInput<&'c [u8]> {
    let mut input = InternedInput::default();
    input.update_before(lines::split(before));
    input.update_after(lines::split(after));
    input
}

fn difference(input: &InternedInput<&[u8]>) -> Diff {
    let mut diff = Diff::compute(Algorithm::Myers, input);
    diff.postprocess_lines(input);
    diff
}

fn count(diff: &Diff) -> Stat {
    // Counts of lines in memory.
    Stat { added: diff.count_additions() as usize, removed: diff.count_removals() as usize, binary: false }
}

/// One file's part of a patch.
struct Writer<'o, 'a> {
    out: &'o mut Vec<u8>,
    old: Option<Side<'a>>,
    new: Option<Side<'a>>,
    options: WriteOptions,
}

impl<'a> Writer<'_, 'a> {
    fn write(mut self) -> Stat {
        let (before, after) = (content(self.old), content(self.new));
        let same_content = before == after && self.old.is_some() == self.new.is_some();
        if same_content && self.is_untouched() {
            return Stat::default();
        }
        self.write_header(same_content);
        if before == after {
            return Stat::default();
        }
        if is_binary(before) || is_binary(after) {
            self.write_that_they_differ();
            return Stat { binary: true, ..Stat::default() };
        }
        for (sign, side, prefix) in [("--- ", self.old, b"a/"), ("+++ ", self.new, b"b/")] {
            self.put(sign);
            self.put_label(side, prefix);
            // So that nothing behind a name with spaces is taken for a part of it.
            let spaced = side.is_some_and(|side| side.path.as_bytes().contains(&b' '));
            self.put(if spaced { "\t\n" } else { "\n" });
        }
        let input = input(before, after);
        let diff = difference(&input);
        self.write_hunks(&input, &diff);
        count(&diff)
    }

    fn is_untouched(&self) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => old.path == new.path && old.mode == new.mode,
            _ => false,
        }
    }

    fn write_that_they_differ(&mut self) {
        self.put("Binary files ");
        self.put_label(self.old, b"a/");
        self.put(" and ");
        self.put_label(self.new, b"b/");
        self.put(" differ\n");
    }

    fn write_names_and_modes(&mut self) {
        let (Some(old), Some(new)) = (self.old.or(self.new), self.new.or(self.old)) else { return };
        self.put("diff --git ");
        self.put_name(b"a/", old.path);
        self.put(" ");
        self.put_name(b"b/", new.path);
        self.put("\n");
        match (self.old, self.new) {
            (None, _) => self.put(&format!("new file mode {}\n", new.mode)),
            (_, None) => self.put(&format!("deleted file mode {}\n", old.mode)),
            _ if old.mode != new.mode => {
                self.put(&format!("old mode {}\nnew mode {}\n", old.mode, new.mode));
            }
            _ => {}
        }
    }

    fn write_header(&mut self, same_content: bool) {
        let (Some(old), Some(new)) = (self.old.or(self.new), self.new.or(self.old)) else { return };
        self.write_names_and_modes();
        if old.path != new.path {
            let similarity = Similarity::between(old.content, new.content);
            self.put(&format!("similarity index {similarity}\nrename from "));
            self.put_name(b"", old.path);
            self.put("\nrename to ");
            self.put_name(b"", new.path);
            self.put("\n");
        }
        if !same_content {
            let name = |side: Option<Side<'_>>| {
                side.map_or_else(|| blob::ABSENT.to_owned(), |side| blob::abbreviated(side.content))
            };
            let mode = if self.old.is_some() && self.new.is_some() && old.mode == new.mode {
                format!(" {}", new.mode)
            } else {
                String::new()
            };
            self.put(&format!("index {}..{}{mode}\n", name(self.old), name(self.new)));
        }
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn put_name(&mut self, prefix: &[u8], path: &FilePath) {
        quote::append(self.out, prefix, path.as_bytes());
    }

    fn put_label(&mut self, side: Option<Side<'_>>, prefix: &[u8]) {
        match side {
            Some(side) => self.put_name(prefix, side.path),
            None => self.put("/dev/null"),
        }
    }

    fn write_hunks(&mut self, input: &InternedInput<&'a [u8]>, diff: &Diff) {
        let old: Vec<&[u8]> = input.before.iter().map(|token| input.interner[*token]).collect();
        let new: Vec<&[u8]> = input.after.iter().map(|token| input.interner[*token]).collect();
        let changes: Vec<Edit> = diff
            .hunks()
            .map(|hunk| Edit {
                old: (hunk.before.start as usize, hunk.before.end as usize),
                new: (hunk.after.start as usize, hunk.after.end as usize),
            })
            .collect();
        let mut headings = Headings::new(&old);
        let context = self.options.context;
        // Changes whose contexts touch share a hunk.
        let apart = |one: &Edit, next: &Edit| next.old.0 - one.old.1 > context.saturating_mul(2);
        for group in changes.chunk_by(|one, next| !apart(one, next)) {
            let [first, ..] = group else { continue };
            let [.., last] = group else { continue };
            let leading = context.min(first.old.0).min(first.new.0);
            let trailing = context.min(old.len() - last.old.1).min(new.len() - last.new.1);
            let old_range = (first.old.0 - leading, last.old.1 + trailing);
            let new_range = (first.new.0 - leading, last.new.1 + trailing);
            let (old_text, new_text) = (range(old_range), range(new_range));
            self.put(&format!("@@ -{old_text} +{new_text} @@"));
            let heading = headings.before(old_range.0);
            if !heading.is_empty() {
                self.put(" ");
                self.out.extend_from_slice(heading);
            }
            self.put("\n");
            let mut at = old_range.0;
            for edit in group {
                self.put_lines(b' ', &old[at..edit.old.0]);
                self.put_lines(b'-', &old[edit.old.0..edit.old.1]);
                self.put_lines(b'+', &new[edit.new.0..edit.new.1]);
                at = edit.old.1;
            }
            self.put_lines(b' ', &old[at..old_range.1]);
        }
    }

    fn put_lines(&mut self, sign: u8, lines: &[&[u8]]) {
        for line in lines {
            self.out.push(sign);
            self.out.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                self.put("\n\\ No newline at end of file\n");
            }
        }
    }
}

/// Lines that are replaced by others: indices of the first and of the one behind the last.
struct Edit {
    old: (usize, usize),
    new: (usize, usize),
}

/// `LINE,COUNT` of a header; a count of 1 is left out, and lines of none start at the one before.
fn range((start, end): (usize, usize)) -> String {
    match end - start {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        count => format!("{},{count}", start + 1),
    }
}
