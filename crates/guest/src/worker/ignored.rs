//! [`Ignored`]: what `.gitignore` files say of the paths of a walk, as git does: the file nearest to a path has the
//! word, `.git` itself is never looked at, `.git/info/exclude` of the workspace counts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use pyro_tree::path::RelativePath;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

use super::entry::type_of;
use super::path_pattern::is_bounded;
use super::workspace::Workspace;

/// Longer files with patterns are read so far.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// Most patterns of one file.
const MAX_PATTERNS: usize = 5_000;
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The rules that hold in a directory, the nearest last.
pub(crate) struct Ignored {
    rules: Vec<Rules>,
}

struct Rules {
    /// Bytes of the path of the directory that they are relative to.
    directory_bytes: usize,
    matcher: Gitignore,
}

impl Ignored {
    /// The rules above and in the directory `top`.
    pub(crate) fn above(workspace: &Workspace<'_>, top: &RelativePath) -> Self {
        let mut ignored = Self { rules: Vec::new() };
        ignored.add(0, workspace.open(b".git/info/exclude", FILE).ok());
        let path = top.as_bytes();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let directories = std::iter::once(0).chain(ends).chain((!path.is_empty()).then_some(path.len()));
        for end in directories {
            let mut file = path[..end].to_vec();
            file.extend_from_slice(if end == 0 { b".gitignore" } else { b"/.gitignore" });
            ignored.add(end, workspace.open(&file, FILE).ok());
        }
        ignored
    }

    /// Adds the rules in a directory that was entered.
    pub(crate) fn enter(&mut self, path: &[u8], directory: BorrowedFd<'_>) {
        self.add(path.len(), openat(directory, ".gitignore", FILE | OFlags::NOFOLLOW, Mode::empty()).ok());
    }

    /// Forgets the rules in the directory `path` and below.
    pub(crate) fn leave(&mut self, path: &[u8]) {
        while self.rules.last().is_some_and(|rules| rules.directory_bytes >= path.len() && !path.is_empty()) {
            self.rules.pop();
        }
    }

    /// Whether a path is ignored, those above being not.
    pub(crate) fn ignores(&self, path: &[u8], is_directory: bool) -> bool {
        if path.rsplit(|byte| *byte == b'/').next() == Some(b".git") {
            return true;
        }
        for rules in self.rules.iter().rev() {
            let start = if rules.directory_bytes == 0 { 0 } else { rules.directory_bytes + 1 };
            let below = path.get(start..).unwrap_or_default();
            match rules.matcher.matched(OsStr::from_bytes(below), is_directory) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }

    fn add(&mut self, directory_bytes: usize, file: Option<OwnedFd>) {
        // Without a file there are no rules; one that cannot be read has none.
        let Some(file) =
            file.filter(|file| fstat(file).is_ok_and(|stat| type_of(&stat) == FileType::RegularFile))
        else {
            return;
        };
        let mut text = Vec::new();
        let _partial = File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut text);
        let matcher = compile(&text);
        if !matcher.is_empty() {
            self.rules.push(Rules { directory_bytes, matcher });
        }
    }
}

/// The rules in the text of a file; lines that are none do not count.
fn compile(text: &[u8]) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    for line in lines.filter(|line| is_bounded(line)).take(MAX_PATTERNS) {
        let _no_rule = builder.add_line(None, line.strip_suffix('\r').unwrap_or(line));
    }
    builder.build().unwrap_or_else(|_too_large| Gitignore::empty())
}
