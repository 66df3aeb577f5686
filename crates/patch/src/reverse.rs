//! A patch read backwards: what takes its changes back.

use crate::{Change, FilePatch, Hunk, Line, LineKind, Patch};

impl Patch<'_> {
    /// What takes this patch back: each file the other way, the last one first. `Err` has the index of a file that is
    /// copied, which no patch takes back.
    pub fn reversed(self) -> Result<Self, usize> {
        let files = self.files.into_iter().enumerate().rev();
        let files = files.map(|(index, file)| file.reversed().ok_or(index)).collect::<Result<_, _>>()?;
        Ok(Self { files })
    }
}

impl FilePatch<'_> {
    /// What takes this file's change back; `None` for a copy.
    pub fn reversed(self) -> Option<Self> {
        let Self { path, change, old_mode, new_mode, hunks, line } = self;
        let (path, change) = match change {
            Change::Add => (path, Change::Delete),
            Change::Delete => (path, Change::Add),
            Change::Modify => (path, Change::Modify),
            Change::Rename { from } => (from, Change::Rename { from: path }),
            Change::Copy { .. } => return None,
        };
        // A file that keeps its mode only has it stated.
        let is_kept = new_mode.is_none() && !matches!(change, Change::Add);
        let (old_mode, new_mode) = if is_kept { (old_mode, None) } else { (new_mode, old_mode) };
        Some(Self {
            path,
            change,
            old_mode,
            new_mode,
            hunks: hunks.into_iter().map(reversed).collect(),
            line,
        })
    }
}

fn turned(line: Line<'_>) -> Line<'_> {
    match line.kind {
        LineKind::Context => line,
        LineKind::Removed => Line { kind: LineKind::Added, ..line },
        LineKind::Added => Line { kind: LineKind::Removed, ..line },
    }
}

fn reversed(hunk: Hunk<'_>) -> Hunk<'_> {
    let Hunk { old_start, new_start, lines, recounted, line } = hunk;
    // Within a run of changes, removed lines come first.
    let mut turned_lines = Vec::with_capacity(lines.len());
    for run in
        lines.chunk_by(|one, other| (one.kind == LineKind::Context) == (other.kind == LineKind::Context))
    {
        let (added, others): (Vec<_>, Vec<_>) =
            run.iter().copied().map(turned).partition(|line| line.kind == LineKind::Added);
        turned_lines.extend(others);
        turned_lines.extend(added);
    }
    Hunk { old_start: new_start, new_start: old_start, lines: turned_lines, recounted, line }
}

#[cfg(test)]
mod tests {
    use crate::{FilePath, Mode, Side, WriteOptions, apply, parse, write};

    fn there_and_back(old: Option<(&str, Mode, &str)>, new: Option<(&str, Mode, &str)>) {
        let path = |side: Option<(&str, Mode, &str)>| {
            side.map(|(path, _, _)| FilePath::new(path.as_bytes()).unwrap())
        };
        let (old_path, new_path) = (path(old), path(new));
        let mut text = Vec::new();
        let old_side = old.zip(old_path.as_ref()).map(|((_, mode, content), path)| Side {
            path,
            mode,
            content: content.as_bytes(),
        });
        let new_side = new.zip(new_path.as_ref()).map(|((_, mode, content), path)| Side {
            path,
            mode,
            content: content.as_bytes(),
        });
        write(&mut text, old_side, new_side, WriteOptions::default());
        let patch = parse(&text).unwrap().reversed().unwrap();
        let [file] = patch.files.as_slice() else { panic!("one file: {patch:?}") };
        let applied = apply(file, new.map_or(b"", |(_, _, content)| content.as_bytes())).unwrap();
        assert_eq!(applied.content, old.map_or(b"".as_slice(), |(_, _, content)| content.as_bytes()));
        assert_eq!(file.source().cloned(), new_path);
        assert_eq!(
            file.new_mode,
            old.map(|(_, mode, _)| mode).filter(|mode| new.is_none_or(|new| new.1 != *mode))
        );
    }

    #[test]
    fn each_change_is_taken_back() {
        let (file, program) = (Mode::Regular, Mode::Executable);
        there_and_back(Some(("a", file, "1\n2\n3\n")), Some(("a", file, "1\ntwo\n3")));
        there_and_back(Some(("a", file, "1\n")), Some(("a", program, "2\n")));
        there_and_back(None, Some(("a", program, "1\n")));
        there_and_back(Some(("a", file, "1\n")), None);
        let long = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        there_and_back(Some(("a", file, long)), Some(("b/c", file, &long.replace('5', "five"))));
    }

    #[test]
    fn a_copy_is_not_taken_back() {
        let text = b"diff --git a/a b/b\nsimilarity index 100%\ncopy from a\ncopy to b\n";
        assert_eq!(parse(text).unwrap().reversed(), Err(0));
    }
}
