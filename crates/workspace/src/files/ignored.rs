//! What patterns and `.pyroignore` files of a directory on the host leave out, beyond a plain walk: the same rules as
//! patterns for the guest, and asked of single paths.

use std::{convert::Infallible, io, path::Path};

use pyro_tree::{
    FileKind, Notes, RelativePath, Root,
    seed::{IGNORE_FILE_NAME, IgnoreRules},
    walk::{Selection, walk},
};

use super::error::FileError;

/// What such a file holds beyond is not read, as in [`IgnoreRules`].
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All that leaves files of the directory at `path` out, as patterns that count from it: first the lines of its
/// `.pyroignore` files, from the top down, then `exclude`, so that the last one that fits decides. Blocks.
pub(super) fn patterns(path: &Path, exclude: &[String]) -> Result<Vec<String>, FileError> {
    let root = open(path)?;
    let mut collector = Collector { rules: rules(path, exclude)?, patterns: Vec::new() };
    let visit = &mut |_: pyro_tree::walk::Met<'_>, _: &mut Notes| Ok::<(), Infallible>(());
    match walk(&root, &RelativePath::root(), &mut collector, &mut Notes::default(), visit) {
        Ok(()) => {}
    }
    collector.patterns.extend_from_slice(exclude);
    Ok(collector.patterns)
}

/// Walks as the packer does, and keeps what the files say.
struct Collector {
    rules: IgnoreRules,
    patterns: Vec<String>,
}

impl Selection for Collector {
    fn enter(&mut self, path: &RelativePath, directory: &Root, notes: &mut Notes) {
        if let Some(text) = read_rules(directory) {
            self.patterns.extend(text.lines().filter_map(|line| pattern_from_root(path, line)));
        }
        self.rules.enter(path, directory, notes);
    }

    fn takes(&self, path: &RelativePath, kind: FileKind) -> bool {
        self.rules.takes(path, kind)
    }

    fn leave(&mut self) {
        self.rules.leave();
    }
}

fn read_rules(directory: &Root) -> Option<String> {
    let file = directory.read(&RelativePath::new(IGNORE_FILE_NAME).ok()?).ok()?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE_BYTES), &mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of the ignore file in `directory` as it would stand in one at the root; none for a line without a pattern.
fn pattern_from_root(directory: &RelativePath, line: &str) -> Option<String> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() || line.starts_with('#') {
        return None;
    }
    if directory.is_root() {
        return Some(line.to_owned());
    }
    let (sign, body) = line.strip_prefix('!').map_or(("", line), |body| ("!", body));
    let mut place = String::new();
    for name in directory.components() {
        place.push('/');
        match std::str::from_utf8(name) {
            Ok(name) => place.extend(name.chars().flat_map(escaped)),
            // No pattern can say it: rather more is left out than less.
            Err(_) if sign.is_empty() => place.push('*'),
            Err(_) => return None,
        }
    }
    let is_anchored = body.trim_end().trim_end_matches('/').contains('/');
    let between = if is_anchored { "/" } else { "/**/" };
    Some(format!("{sign}{place}{between}{}", body.trim_start_matches('/')))
}

fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_special = matches!(character, '\\' | '*' | '?' | '[' | ']' | '{' | '}' | '!' | '#' | ' ');
    is_special.then_some('\\').into_iter().chain([character])
}

/// The rules of a directory on the host, asked of one path after the other in their order.
#[derive(Debug)]
pub(super) struct Ignored {
    root: Root,
    rules: IgnoreRules,
    /// Directories on the way to the path at hand whose files were read.
    entered: Vec<RelativePath>,
}

impl Ignored {
    /// The patterns, and the `.pyroignore` files below `root`, which lies at `path`.
    pub(super) fn new(root: &Root, path: &Path, exclude: &[String]) -> Result<Self, FileError> {
        let host = |source| FileError::Host { operation: "read", path: path.to_owned(), source };
        let root = root.try_clone().map_err(host)?.without_links();
        let mut ignored = Self { root, rules: rules(path, exclude)?, entered: Vec::new() };
        ignored.enter(&RelativePath::root());
        Ok(ignored)
    }

    /// Whether the path, or a directory above it, is left out. Paths come in the order of their bytes.
    pub(super) fn leaves_out(&mut self, path: &RelativePath, kind: FileKind) -> bool {
        while self.entered.last().is_some_and(|directory| path.below(directory).is_none()) {
            self.entered.pop();
            self.rules.leave();
        }
        let mut above: Vec<_> = path.ancestors().collect();
        above.reverse();
        for directory in above {
            if self.entered.contains(&directory) {
                continue;
            }
            if !self.rules.takes(&directory, FileKind::Directory) {
                return true;
            }
            self.enter(&directory);
        }
        !self.rules.takes(path, kind)
    }

    /// Reads what a directory's file says. One that is not there says nothing.
    fn enter(&mut self, path: &RelativePath) {
        if let Ok(directory) = self.root.descend(path) {
            self.rules.enter(path, &directory, &mut Notes::default());
            self.entered.push(path.clone());
        }
    }
}

fn open(path: &Path) -> Result<Root, FileError> {
    Root::open(path).map_err(|source| FileError::Host { operation: "read", path: path.to_owned(), source })
}

fn rules(path: &Path, exclude: &[String]) -> Result<IgnoreRules, FileError> {
    IgnoreRules::new(exclude)
        .map_err(|error| FileError::Source { path: path.to_owned(), source: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::new(text).unwrap()
    }

    #[test]
    fn lines_of_files_below_count_from_the_root() {
        let directory = path("a b/[x]");
        for (line, pattern) in [
            ("*.o", Some("/a\\ b/\\[x\\]/**/*.o")),
            ("/top", Some("/a\\ b/\\[x\\]/top")),
            ("in/there", Some("/a\\ b/\\[x\\]/in/there")),
            ("build/", Some("/a\\ b/\\[x\\]/**/build/")),
            ("!keep\r", Some("!/a\\ b/\\[x\\]/**/keep")),
            ("# said", None),
            ("  ", None),
        ] {
            assert_eq!(pattern_from_root(&directory, line).as_deref(), pattern, "{line}");
        }
        assert_eq!(pattern_from_root(&RelativePath::root(), "*.o").as_deref(), Some("*.o"));
        let odd = RelativePath::new(b"\xff/a").unwrap();
        assert_eq!(pattern_from_root(&odd, "x").as_deref(), Some("/*/a/**/x"));
        assert_eq!(pattern_from_root(&odd, "!x"), None);
    }

    #[test]
    fn patterns_leave_out_what_the_files_do() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("sub/{deep}")).unwrap();
        fs::write(home.path().join(".pyroignore"), "*.log\n/top\n").unwrap();
        fs::write(home.path().join("sub/.pyroignore"), "!keep.log\nbuild/\n").unwrap();
        fs::write(home.path().join("sub/{deep}/.pyroignore"), "/only\n").unwrap();
        let patterns = patterns(home.path(), &["*.tmp".to_owned()]).unwrap();
        let given = IgnoreRules::new(&patterns).unwrap();
        let root = Root::open(home.path()).unwrap();
        let mut ignored = Ignored::new(&root, home.path(), &["*.tmp".to_owned()]).unwrap();
        let file = FileKind::File;
        for (name, kind, is_left_out) in [
            ("a.log", file, true),
            ("a.tmp", file, true),
            ("b", file, false),
            ("sub/a.log", file, true),
            ("sub/keep.log", file, false),
            ("sub/top", file, false),
            ("sub/{deep}/build", FileKind::Directory, true),
            ("sub/{deep}/only", file, true),
            ("sub/{deep}/x/only", file, false),
            ("top", file, true),
        ] {
            assert_eq!(ignored.leaves_out(&path(name), kind), is_left_out, "{name}");
            assert_eq!(!given.takes(&path(name), kind), is_left_out, "{name} by {patterns:?}");
        }
        assert!(ignored.leaves_out(&path("zub.log/below"), file), "what is below goes with it");
    }
}
