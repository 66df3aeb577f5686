//! Against the real `git` and `patch`: what we write they apply, what they write we apply, to the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, fs::symlink},
    path::Path,
    process::{Command, Output},
};

use pyro_patch::{Change, FilePath, Mode, Side, WriteOptions, apply, parse, write};

/// Files by name, with what they are and what is in them.
type Tree = BTreeMap<Vec<u8>, (Mode, Vec<u8>)>;

fn tree(files: &[(&str, Mode, &str)]) -> Tree {
    files
        .iter()
        .map(|(name, mode, content)| (name.as_bytes().to_vec(), (*mode, content.as_bytes().to_vec())))
        .collect()
}

fn lay_out(directory: &Path, tree: &Tree) {
    for (name, (mode, content)) in tree {
        let path = directory.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if *mode == Mode::Symlink {
            symlink(std::ffi::OsStr::from_bytes(content), &path).unwrap();
        } else {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode.number() & 0o777)).unwrap();
        }
    }
}

fn read_back(directory: &Path) -> Tree {
    fn walk(root: &Path, directory: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_name() == ".git" {
                continue;
            }
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                walk(root, &path, tree);
                continue;
            }
            let file = if kind.is_symlink() {
                (Mode::Symlink, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                (Mode::from_number(mode).unwrap(), fs::read(&path).unwrap())
            };
            tree.insert(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), file);
        }
    }
    let mut tree = Tree::new();
    walk(directory, directory, &mut tree);
    tree
}

/// A command that nobody's settings change.
fn command(program: &str, directory: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("LC_ALL", "C")
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
        .output()
        .unwrap()
}

fn git(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false"];
    let output = command("git", directory, &[&identity, arguments].concat());
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A repository whose first commit is `old` and whose second is `new`.
fn repository(old: &Tree, new: &Tree) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    git(path, &["init", "-q"]);
    for tree in [old, new] {
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            if entry.file_name() == ".git" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        lay_out(path, tree);
        git(path, &["add", "-A"]);
        git(path, &["commit", "-q", "--allow-empty", "-m", "message"]);
    }
    directory
}

fn git_diff(old: &Tree, new: &Tree, arguments: &[&str]) -> Vec<u8> {
    let repository = repository(old, new);
    let base = ["-c", "core.abbrev=7", "diff", "HEAD~", "HEAD"];
    git(repository.path(), &[&base, arguments].concat())
}

fn our_diff(old: &Tree, new: &Tree, renames: &[(&str, &str)]) -> Vec<u8> {
    let paths: BTreeMap<&[u8], FilePath> =
        old.keys().chain(new.keys()).map(|name| (name.as_slice(), FilePath::new(name).unwrap())).collect();
    let side = |tree: &'_ Tree, name: &[u8]| tree.get(name).map(|(mode, content)| (*mode, content.clone()));
    let mut out = Vec::new();
    for name in paths.keys() {
        if renames.iter().any(|(from, _)| from.as_bytes() == *name) {
            continue;
        }
        let from =
            renames.iter().find(|(_, to)| to.as_bytes() == *name).map_or(*name, |(from, _)| from.as_bytes());
        let (before, after) = (side(old, from), side(new, name));
        let side = |name: &[u8], file: &'_ Option<(Mode, Vec<u8>)>| {
            file.as_ref().map(|(mode, content)| (paths[name].clone(), *mode, content.clone()))
        };
        let (before, after) = (side(from, &before), side(name, &after));
        fn borrow(side: &Option<(FilePath, Mode, Vec<u8>)>) -> Option<Side<'_>> {
            side.as_ref().map(|(path, mode, content)| Side { path, mode: *mode, content })
        }
        write(&mut out, borrow(&before), borrow(&after), WriteOptions::default());
    }
    out
}

/// Applies a patch to a tree as a caller would.
fn apply_all(patch: &[u8], tree: &Tree) -> Tree {
    let patch = parse(patch).unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(patch)));
    let mut result = tree.clone();
    let mut written = Tree::new();
    for file in &patch.files {
        let (mode, content) = match file.source() {
            Some(source) => tree[source.as_bytes()].clone(),
            None => (Mode::Regular, Vec::new()),
        };
        let applied = apply(file, &content).unwrap();
        if let (Change::Delete | Change::Modify | Change::Rename { .. }, Some(source)) =
            (&file.change, file.source())
        {
            result.remove(source.as_bytes());
        }
        if file.change != Change::Delete {
            written.insert(file.path.as_bytes().to_vec(), (file.new_mode.unwrap_or(mode), applied.content));
        }
    }
    result.extend(written);
    result
}

const LINES: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\ntwelve\n";

/// A name, the trees before and after, and the renames between them.
type Case = (&'static str, Tree, Tree, Vec<(&'static str, &'static str)>);

/// A pair for everything that can happen to a file.
fn cases() -> Vec<Case> {
    use Mode::{Executable, Regular, Symlink};
    let edited = LINES.replace("two", "2").replace("eleven", "11\n11.5");
    let edited = edited.as_str();
    vec![
        ("edit", tree(&[("a", Regular, LINES)]), tree(&[("a", Regular, edited)]), vec![]),
        ("add", tree(&[]), tree(&[("dir/a", Regular, "x\ny\n"), ("run", Executable, "#!\n")]), vec![]),
        ("delete", tree(&[("dir/a", Regular, "x\n"), ("run", Executable, "#!\n")]), tree(&[]), vec![]),
        ("empty files", tree(&[("gone", Regular, "")]), tree(&[("come", Executable, "")]), vec![]),
        (
            "emptied",
            tree(&[("a", Regular, "x\n"), ("b", Regular, "")]),
            tree(&[("a", Regular, ""), ("b", Regular, "x\n")]),
            vec![],
        ),
        ("mode", tree(&[("a", Regular, LINES)]), tree(&[("a", Executable, LINES)]), vec![]),
        ("mode and edit", tree(&[("a", Executable, LINES)]), tree(&[("a", Regular, edited)]), vec![]),
        ("rename", tree(&[("a b", Regular, LINES)]), tree(&[("c d", Regular, LINES)]), vec![("a b", "c d")]),
        (
            "rename and edit",
            tree(&[("a", Regular, LINES)]),
            tree(&[("dir/é", Executable, edited)]),
            vec![("a", "dir/é")],
        ),
        (
            "links",
            tree(&[("l", Symlink, "old/target"), ("gone", Symlink, "x")]),
            tree(&[("l", Symlink, "../new"), ("come", Symlink, "/abs")]),
            vec![],
        ),
        ("file to link", tree(&[("a", Regular, LINES)]), tree(&[("a", Symlink, "x")]), vec![]),
        ("link to file", tree(&[("a", Symlink, "x")]), tree(&[("a", Executable, LINES)]), vec![]),
        ("newline lost", tree(&[("a", Regular, "x\ny\n")]), tree(&[("a", Regular, "x\ny")]), vec![]),
        ("newline found", tree(&[("a", Regular, "x\ny")]), tree(&[("a", Regular, "x\ny\n")]), vec![]),
        (
            "no newline on either side",
            tree(&[("a", Regular, "x\ny")]),
            tree(&[("a", Regular, "1\nx\ny")]),
            vec![],
        ),
        ("no newline and appended", tree(&[("a", Regular, "x")]), tree(&[("a", Regular, "x\ny")]), vec![]),
        (
            "carriage returns",
            tree(&[("a", Regular, "x\r\ny\r\nz\r\n")]),
            tree(&[("a", Regular, "x\r\nY\r\nz\n")]),
            vec![],
        ),
        (
            "odd separators",
            tree(&[("a", Regular, "x\u{2028}\u{c}\u{b}\u{85}y\nz\n")]),
            tree(&[("a", Regular, "x\u{2028}\u{c}y\nz\r\r\n\r")]),
            vec![],
        ),
        (
            "looks like headers",
            tree(&[("a.sql", Regular, "-- one\n-- two\nselect 1;\n")]),
            tree(&[("a.sql", Regular, "++ one\nselect 1;\n+++ b/a.sql\n@@ -1 +1 @@\n")]),
            vec![],
        ),
        (
            "odd names",
            tree(&[
                ("tab\there", Regular, "x\n"),
                ("sp ace", Regular, "x\n"),
                ("q\"uote", Regular, "x\n"),
                ("back\\slash", Regular, "x\n"),
                ("né\nw", Regular, "x\n"),
            ]),
            tree(&[
                ("tab\there", Regular, "y\n"),
                ("sp ace", Regular, "y\n"),
                ("q\"uote", Executable, "x\n"),
                ("back\\slash", Regular, ""),
            ]),
            vec![],
        ),
        (
            "names with prefixes",
            tree(&[("a/a", Regular, "x\n"), ("b/b b/b", Regular, "x\n")]),
            tree(&[("a/a", Regular, "y\n"), ("b/b b/b", Executable, "x\n")]),
            vec![],
        ),
        (
            "heading",
            tree(&[("a.c", Regular, &format!("int main(void)  \n{{\n{}}}\n", "  x;\n".repeat(20)))]),
            tree(&[("a.c", Regular, &format!("int main(void)  \n{{\n{}  y;\n}}\n", "  x;\n".repeat(20)))]),
            vec![],
        ),
    ]
}

#[test]
fn what_we_write_is_what_git_writes() {
    for (name, old, new, renames) in cases() {
        let git = git_diff(&old, &new, &["-M"]);
        if renames.is_empty() && name == "empty files" {
            continue; // Git takes them for a rename, which is the caller's to decide.
        }
        let ours = our_diff(&old, &new, &renames);
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&git), "{name}");
    }
}

#[test]
fn git_applies_what_we_write() {
    for (name, old, new, renames) in cases() {
        let directory = tempfile::tempdir().unwrap();
        lay_out(directory.path(), &old);
        let patch = tempfile::NamedTempFile::new().unwrap();
        fs::write(patch.path(), our_diff(&old, &new, &renames)).unwrap();
        git(directory.path(), &["apply", "--whitespace=nowarn", patch.path().to_str().unwrap()]);
        assert_eq!(read_back(directory.path()), new, "{name}");
    }
}

#[test]
fn we_apply_what_we_write() {
    for (name, old, new, renames) in cases() {
        assert_eq!(apply_all(&our_diff(&old, &new, &renames), &old), new, "{name}");
        assert_eq!(apply_all(&our_diff(&old, &new, &[]), &old), new, "{name} without renames");
    }
}

#[test]
fn we_apply_what_git_writes() {
    let settings: [&[&str]; 8] = [
        &["-M"],
        &["--no-renames"],
        &["-C", "--find-copies-harder"],
        &["-U0"],
        &["-U1"],
        &["--no-prefix"],
        &["--src-prefix=i/", "--dst-prefix=w/"],
        &["--full-index", "--patience", "-B"],
    ];
    for (name, old, new, _) in cases() {
        let repository = repository(&old, &new);
        for setting in settings {
            let diff = git(repository.path(), &[&["diff", "HEAD~", "HEAD"], setting].concat());
            assert_eq!(apply_all(&diff, &old), new, "{name} {setting:?}");
        }
        let mail = git(repository.path(), &["format-patch", "--stdout", "-1"]);
        assert_eq!(apply_all(&mail, &old), new, "{name} as a mail");
        let show = git(repository.path(), &["show", "--stat", "-p", "HEAD"]);
        assert_eq!(apply_all(&show, &old), new, "{name} as shown");
    }
}

#[test]
fn we_apply_what_diff_writes() {
    for (name, old, new, _) in cases() {
        let special = |tree: &Tree| tree.values().any(|(mode, _)| *mode == Mode::Symlink);
        let modes = |tree: &Tree| {
            tree.iter().map(|(name, (mode, _))| (name.clone(), *mode)).collect::<BTreeMap<_, _>>()
        };
        let same_modes = new
            .iter()
            .all(|(name, (mode, _))| modes(&old).get(name).map_or(*mode == Mode::Regular, |old| old == mode));
        // Such changes `diff` cannot tell of; nor of additions and removals of empty files.
        if special(&old) || special(&new) || !same_modes || name == "empty files" {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        lay_out(&directory.path().join("old"), &old);
        lay_out(&directory.path().join("new"), &new);
        fs::create_dir_all(directory.path().join("old")).unwrap();
        fs::create_dir_all(directory.path().join("new")).unwrap();
        let output = command("diff", directory.path(), &["-ruN", "old", "new"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(apply_all(&output.stdout, &old), new, "{name}");
    }
}

#[test]
fn copies_apply() {
    let old = tree(&[("a", Mode::Regular, LINES)]);
    let new = tree(&[("a", Mode::Regular, LINES), ("b", Mode::Regular, &LINES.replace("two", "2"))]);
    let diff = git_diff(&old, &new, &["-C", "--find-copies-harder"]);
    assert!(diff.windows(10).any(|window| window == b"copy from "));
    assert_eq!(apply_all(&diff, &old), new);
}

#[test]
fn swapped_names_apply() {
    let (lines, other) = (LINES.repeat(20), LINES.to_uppercase().repeat(20));
    let old = tree(&[("a", Mode::Regular, &lines), ("b", Mode::Regular, &other)]);
    let new = tree(&[("a", Mode::Regular, &other), ("b", Mode::Regular, &lines)]);
    let diff = git_diff(&old, &new, &["-M", "-B"]);
    assert_eq!(diff.windows(12).filter(|window| window == b"rename from ").count(), 2);
    assert_eq!(apply_all(&diff, &old), new);
}

#[test]
fn binary_content_is_told() {
    let old = tree(&[("a", Mode::Regular, "\0one")]);
    let new = tree(&[("a", Mode::Regular, "\0two"), ("b c", Mode::Executable, "\0")]);
    let diff = git_diff(&old, &new, &["-M"]);
    assert_eq!(String::from_utf8_lossy(&our_diff(&old, &new, &[])), String::from_utf8_lossy(&diff));
    assert!(parse(&diff).unwrap_err().to_string().contains("a is binary"));
    let patch = git_diff(&old, &new, &["--binary"]);
    assert!(parse(&patch).unwrap_err().to_string().contains("a is binary"));
}

/// Marsaglia's xorshift64*: reproducible, and good enough to make files with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % sides
    }

    /// Lines of a file; few different ones, so that they match in several places.
    fn lines(&mut self, most: usize) -> Vec<String> {
        (0..self.roll(most)).map(|_| self.line()).collect()
    }

    fn line(&mut self) -> String {
        ["a\n", "  b\n", "c\r\n", "-- d\n", "++ e\n", "\n", "f()\n", "g\u{2028}\u{c}\n", "}\n"][self.roll(9)]
            .to_owned()
    }

    fn edit(&mut self, lines: &[String], edits: usize) -> Vec<String> {
        let mut lines = lines.to_vec();
        for _ in 0..edits {
            let at = self.roll(lines.len() + 1);
            let end = (at + self.roll(3)).min(lines.len());
            let added = self.lines(3);
            drop(lines.splice(at..end, added));
        }
        lines
    }

    /// The lines as content, whose last newline is missing now and then.
    fn content(&mut self, lines: &[String]) -> String {
        let content = lines.concat();
        if self.roll(4) == 0 { content.trim_end_matches('\n').to_owned() } else { content }
    }
}

/// Trees of many files of all sorts.
fn random_trees() -> (Tree, Tree) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut old, mut new) = (Tree::new(), Tree::new());
    for number in 0..300 {
        let lines = dice.lines(60);
        let edits = dice.roll(6);
        let edited = dice.edit(&lines, edits);
        let (before, after) = (dice.content(&lines), dice.content(&edited));
        let odd = ["", " b", "\t", "é", "\"", "\\"][dice.roll(6)];
        let name = format!("dir{}/file{odd}{number}", number % 7).into_bytes();
        let modes = [Mode::Regular, Mode::Regular, Mode::Executable];
        if dice.roll(10) > 0 {
            old.insert(name.clone(), (modes[dice.roll(3)], before.into_bytes()));
        }
        if dice.roll(10) > 0 {
            new.insert(name, (modes[dice.roll(3)], after.into_bytes()));
        }
    }
    (old, new)
}

#[test]
fn random_trees_go_both_ways() {
    let (old, new) = random_trees();
    let ours = our_diff(&old, &new, &[]);
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path(), &old);
    let patch = tempfile::NamedTempFile::new().unwrap();
    fs::write(patch.path(), &ours).unwrap();
    git(directory.path(), &["apply", "--whitespace=nowarn", patch.path().to_str().unwrap()]);
    assert_eq!(read_back(directory.path()), new);
    let repository = repository(&old, &new);
    for setting in
        [&["--no-renames"][..], &["-M"], &["-C", "--find-copies-harder"], &["-U0"], &["--histogram", "-U1"]]
    {
        let diff = git(repository.path(), &[&["diff", "HEAD~", "HEAD"], setting].concat());
        assert_eq!(apply_all(&diff, &old), new, "{setting:?}");
    }
}

/// Where GNU patch applies a hunk to a file that moved on, so do we, to the same bytes.
#[test]
fn files_that_moved_on_come_out_as_from_patch() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let directory = tempfile::tempdir().unwrap();
    let (mut both, mut ours_only) = (0, 0);
    for _ in 0..400 {
        // Lines that differ from each other, so that there is one right place.
        let lines: Vec<String> = (0..40).map(|number| format!("line {number}\n")).collect();
        let edited = {
            let mut edited = lines.clone();
            let at = dice.roll(40);
            edited[at] = "changed\n".to_owned();
            let at = dice.roll(40);
            edited.insert(at, "inserted\n".to_owned());
            edited
        };
        let mut moved = lines.clone();
        for _ in 0..dice.roll(4) {
            let at = dice.roll(moved.len());
            match dice.roll(3) {
                0 => drop(moved.remove(at)),
                1 => moved.insert(at, format!("new {at}\n")),
                _ => moved[at] = format!("other {at}\n"),
            }
        }
        let (old, new) = (lines.concat(), edited.concat());
        let trees = (tree(&[("f", Mode::Regular, &old)]), tree(&[("f", Mode::Regular, &new)]));
        let diff = our_diff(&trees.0, &trees.1, &[]);
        let (file, patch) = (directory.path().join("f"), directory.path().join("p"));
        fs::write(&file, moved.concat()).unwrap();
        fs::write(&patch, &diff).unwrap();
        let output = command(
            "patch",
            directory.path(),
            &["--no-backup-if-mismatch", "-s", "-f", "-p1", "-r-", "-i", "p"],
        );
        let applied = apply(&parse(&diff).unwrap().files[0], moved.concat().as_bytes());
        match (output.status.success(), applied) {
            (true, Ok(applied)) => {
                assert_eq!(String::from_utf8(applied.content).unwrap(), fs::read_to_string(&file).unwrap());
                both += 1;
            }
            (true, Err(error)) => panic!("{error}, but patch applies\n{}", String::from_utf8_lossy(&diff)),
            (false, applied) => ours_only += usize::from(applied.is_ok()),
        }
    }
    assert!(both > 150 && ours_only < 40, "{both} as patch does, {ours_only} that it refuses");
}
