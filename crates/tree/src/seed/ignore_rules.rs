//! [`IgnoreRules`]: `--exclude` patterns and `.pyroignore` files, both in gitignore syntax.
//!
//! The patterns count from the tree's root and override the files; of the files the one nearest to a path decides, and
//! in one file the last line that fits. A directory that is left out is not looked into, so nothing below can be taken back.

use std::{ffi::OsStr, io::Read as _, os::unix::ffi::OsStrExt as _, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::{
    attributes::FileKind,
    beneath::Root,
    notes::{Notes, Remark},
    path::RelativePath,
    walk::{Selection, cause},
};

/// The name of the files that say what is left out of their directory and below.
pub const IGNORE_FILE_NAME: &str = ".pyroignore";
/// What such a file holds beyond is not read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A pattern that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pattern `{pattern}` is malformed: {reason}")]
pub struct BadPattern {
    /// As given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Leaves out what the patterns and the ignore files say. For one walk from one directory, from which paths and patterns count.
#[derive(Debug)]
pub struct IgnoreRules {
    excludes: Gitignore,
    /// The ignore files of the directories on the way down; none where there is no file.
    files: Vec<(RelativePath, Option<Gitignore>)>,
}

impl IgnoreRules {
    /// Rules with these patterns besides the ignore files.
    pub fn new<S: AsRef<str>>(excludes: impl IntoIterator<Item = S>) -> Result<Self, BadPattern> {
        let mut builder = GitignoreBuilder::new(".");
        for pattern in excludes {
            let pattern = pattern.as_ref();
            let bad =
                |error: ignore::Error| BadPattern { pattern: pattern.to_owned(), reason: error.to_string() };
            builder.add_line(None, pattern).map_err(bad)?;
        }
        let excludes = builder
            .build()
            .map_err(|error| BadPattern { pattern: String::new(), reason: error.to_string() })?;
        Ok(Self { excludes, files: Vec::new() })
    }
}

impl Selection for IgnoreRules {
    fn enter(&mut self, path: &RelativePath, directory: &Root, notes: &mut Notes) {
        let rules = read_rules(path, directory, notes);
        self.files.push((path.clone(), rules));
    }

    fn takes(&self, path: &RelativePath, kind: FileKind) -> bool {
        let is_directory = kind == FileKind::Directory;
        match self.excludes.matched(as_path(path), is_directory) {
            Match::Ignore(_) => return false,
            Match::Whitelist(_) => return true,
            Match::None => {}
        }
        for (directory, rules) in self.files.iter().rev() {
            let (Some(rules), Some(below)) = (rules, path.below(directory)) else { continue };
            match rules.matched(as_path(&below), is_directory) {
                Match::Ignore(_) => return false,
                Match::Whitelist(_) => return true,
                Match::None => {}
            }
        }
        true
    }

    fn leave(&mut self) {
        self.files.pop();
    }
}

fn as_path(path: &RelativePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// The rules of a directory's ignore file; lines that make no sense are noted and have no effect.
fn read_rules(path: &RelativePath, directory: &Root, notes: &mut Notes) -> Option<Gitignore> {
    let name = RelativePath::new(IGNORE_FILE_NAME).ok()?;
    let file_path = path.child(IGNORE_FILE_NAME).ok()?;
    let file = match directory.read(&name) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return None,
        Err(error) => {
            notes.add(&file_path, Remark::IgnoreFile(cause(&error)));
            return None;
        }
    };
    let mut contents = Vec::new();
    if let Err(error) = file.take(MAX_FILE_BYTES).read_to_end(&mut contents) {
        notes.add(&file_path, Remark::IgnoreFile(error.to_string()));
        return None;
    }
    let mut builder = GitignoreBuilder::new(".");
    for line in contents.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let added = match std::str::from_utf8(line) {
            Ok(line) => builder.add_line(None, line).map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = added {
            notes.add(&file_path, Remark::IgnoreFile(reason));
        }
    }
    match builder.build() {
        Ok(rules) => Some(rules),
        Err(error) => {
            notes.add(&file_path, Remark::IgnoreFile(error.to_string()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_patterns_are_named() {
        let error = IgnoreRules::new(["fine", "{a", "also fine"]).unwrap_err();
        assert_eq!(error.pattern, "{a");
    }

    #[test]
    fn patterns_are_gitignore_patterns() {
        let rules = IgnoreRules::new(["target/", "/top", "*.log", "!keep.log", "deep/**/x"]).unwrap();
        let takes = |path: &str, kind| rules.takes(&RelativePath::new(path).unwrap(), kind);
        assert!(!takes("a/target", FileKind::Directory));
        assert!(takes("a/target", FileKind::File));
        assert!(!takes("top", FileKind::File) && takes("a/top", FileKind::File));
        assert!(!takes("a/b.log", FileKind::File) && takes("a/keep.log", FileKind::File));
        assert!(!takes("deep/1/2/x", FileKind::File));
        assert!(takes(".gitignore", FileKind::File) && takes(".git", FileKind::Directory));
    }
}
