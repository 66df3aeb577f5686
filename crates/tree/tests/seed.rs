//! What of a host directory is taken: ignore rules, and what git tracks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pyro_tree::{
    RelativePath, Remark, Root,
    archive::{Limits, Reader, Special, Writer},
    pack::{Packed, Packer},
    seed::{Git, GitError, IgnoreRules, pack_tracked, tracked},
    walk::Selection,
};

fn write(directory: &Path, path: &str, text: &str) {
    let path = directory.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(archive: &[u8]) -> BTreeSet<String> {
    let mut reader = Reader::new(archive, Limits::default(), Special::Refuse);
    let mut names = BTreeSet::new();
    while let Some(member) = reader.next_member().unwrap() {
        assert!(names.insert(member.path.to_string()), "{} twice", member.path);
    }
    names
}

fn taken(directory: &Path, excludes: &[&str]) -> (BTreeSet<String>, Packed) {
    let mut writer = Writer::new(Vec::new());
    let mut packer = Packer::new(&Root::open(directory).unwrap(), &mut writer).unwrap();
    packer.append_tree(&RelativePath::root(), &mut IgnoreRules::new(excludes).unwrap()).unwrap();
    let packed = packer.finish();
    (names(&writer.finish().unwrap()), packed)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn ignore_files_at_any_level() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, ".pyroignore", "*.log\n/top\nbuild/\n");
    write(path, ".gitignore", "*\n");
    write(path, ".hidden", "");
    write(path, "top", "");
    write(path, "a.log", "");
    write(path, "sub/.pyroignore", "!kept.log\nown\n# a comment\n");
    write(path, "sub/top", "");
    write(path, "sub/kept.log", "");
    write(path, "sub/other.log", "");
    write(path, "sub/own", "");
    write(path, "own", "");
    write(path, "sub/build/x", "");
    write(path, "sub-2/own", "");
    let (names, packed) = taken(path, &[]);
    assert_eq!(
        names,
        set(&[
            ".",
            ".gitignore",
            ".hidden",
            ".pyroignore",
            "own",
            "sub",
            "sub-2",
            "sub-2/own",
            "sub/.pyroignore",
            "sub/kept.log",
            "sub/top",
        ])
    );
    assert!(packed.notes.is_empty());
    let (names, _) = taken(path, &["sub*/", "!a.log", "/.hidden"]);
    assert_eq!(names, set(&[".", ".gitignore", ".pyroignore", "a.log", "own"]));
}

#[test]
fn lines_that_make_no_sense_are_noted() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(".pyroignore"), b"{a\n\xff\ngone\r\n").unwrap();
    write(directory.path(), "gone", "");
    let (names, packed) = taken(directory.path(), &[]);
    assert_eq!(names, set(&[".", ".pyroignore"]));
    assert_eq!(packed.notes.list.len(), 2);
    assert!(matches!(packed.notes.list[0].remark, Remark::IgnoreFile(_)));
}

fn git() -> Git {
    Git {
        program: PathBuf::from("git"),
        environment: ["PATH"].iter().map(|name| ((*name).into(), std::env::var_os(name).unwrap())).collect(),
    }
}

fn run_git(directory: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env_remove("GIT_DIR")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

fn taken_of_git(directory: &Path, selection: &mut dyn Selection) -> (Vec<u8>, Packed) {
    let tracked = tracked(&git(), directory).unwrap();
    let mut writer = Writer::new(Vec::new());
    let mut packer = Packer::new(&Root::open(directory).unwrap(), &mut writer).unwrap();
    pack_tracked(&mut packer, &tracked, selection).unwrap();
    let packed = packer.finish();
    (writer.finish().unwrap(), packed)
}

#[test]
fn what_git_tracks_works_where_it_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let (path, library) = (directory.path().join("project"), directory.path().join("library"));
    fs::create_dir_all(&library).unwrap();
    run_git(&library, &["init", "-q"]);
    write(&library, "lib.txt", "library");
    run_git(&library, &["add", "."]);
    run_git(&library, &["commit", "-qm", "one"]);
    fs::create_dir_all(&path).unwrap();
    run_git(&path, &["init", "-q"]);
    for name in ["a", "a-b/x", "a.d/y", "deep/er/z", "deleted", "odd\nname"] {
        write(&path, name, "committed");
    }
    write(&path, ".gitignore", "ignored\n");
    run_git(&path, &["submodule", "add", "-q", library.to_str().unwrap(), "vendor/library"]);
    run_git(&path, &["add", "."]);
    run_git(&path, &["commit", "-qm", "one"]);
    write(&path, "a", "edited");
    write(&path, "staged", "new");
    run_git(&path, &["add", "staged"]);
    write(&path, "untracked", "x");
    write(&path, "ignored", "x");
    fs::remove_file(path.join("deleted")).unwrap();

    let (archive, packed) = taken_of_git(&path, &mut IgnoreRules::new(["*.none"]).unwrap());
    assert!(packed.notes.is_empty(), "{:?}", packed.notes);
    let mut names = names(&archive);
    assert!(names.contains(".git/HEAD") && names.contains(".git/index"));
    names.retain(|name| name != ".git" && !name.starts_with(".git/"));
    assert_eq!(
        names,
        set(&[
            ".",
            ".gitignore",
            ".gitmodules",
            "a",
            "a-b",
            "a-b/x",
            "a.d",
            "a.d/y",
            "deep",
            "deep/er",
            "deep/er/z",
            "odd\\nname",
            "staged",
            "vendor",
            "vendor/library",
            "vendor/library/.git",
            "vendor/library/lib.txt",
        ])
    );
    let target = tempfile::tempdir().unwrap();
    support::unpack_bytes(&archive, target.path()).unwrap();
    let status = |directory: &Path| {
        Command::new("git")
            .args(["status", "--porcelain", "-z", "-uno"])
            .current_dir(directory)
            .output()
            .unwrap()
            .stdout
    };
    assert_eq!(status(target.path()), status(&path));
    assert_eq!(status(&path), b" M a\0 D deleted\0A  staged\0");

    // A directory of the repository: its part, and no repository.
    write(&path, "deep/.pyroignore", "z\n");
    let (archive, _) = taken_of_git(&path.join("deep"), &mut IgnoreRules::new(["none"]).unwrap());
    assert_eq!(self::names(&archive), set(&["."]));
}

#[test]
fn a_worktree_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("main");
    fs::create_dir(&path).unwrap();
    run_git(&path, &["init", "-q"]);
    write(&path, "a", "");
    run_git(&path, &["add", "."]);
    run_git(&path, &["commit", "-qm", "one"]);
    run_git(&path, &["worktree", "add", "-q", "../tree"]);
    let (archive, packed) =
        taken_of_git(&directory.path().join("tree"), &mut IgnoreRules::new(["none"]).unwrap());
    assert_eq!(names(&archive), set(&[".", ".git", "a"]));
    assert_eq!(packed.notes.list[0].remark, Remark::RepositoryElsewhere);
}

#[test]
fn without_git_or_a_repository() {
    let directory = tempfile::tempdir().unwrap();
    let none = Git { program: PathBuf::from("/nowhere/git"), environment: Vec::new() };
    assert!(matches!(tracked(&none, directory.path()), Err(GitError::NoGit { .. })));
    let error = tracked(&git(), directory.path()).unwrap_err();
    assert!(error.to_string().contains("not a git repository"), "{error}");
}
