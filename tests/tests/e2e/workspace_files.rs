//! Files of workspaces on real machines: every operation, what it must not do, and what the overlay must not break.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Outcome};
use serde_json::Value;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn file<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace", "file"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "--", "sh", "-c", script]).output()
}

fn create(home: &Home, seed: Option<&str>) {
    let create = workspace(home, ["create", ENVIRONMENT, "--name", "w"]);
    match seed {
        Some(seed) => create.flag("--seed-path").flag(seed).output().succeeds(),
        None => create.output().succeeds(),
    };
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

/// A repository with one commit.
fn repository(home: &Home) -> PathBuf {
    let place = home.scratch().join("repository");
    fs::create_dir_all(place.join("src")).unwrap();
    fs::write(place.join("src/a.c"), "int a;\nint b;\nint c;\n").unwrap();
    fs::write(place.join("last"), "no end").unwrap();
    fs::write(place.join("dos.txt"), "one\r\ntwo\r\n").unwrap();
    symlink("src/a.c", place.join("link")).unwrap();
    git(&place, &["init", "-q", "-b", "main"]);
    git(&place, &["add", "-A"]);
    git(&place, &["commit", "-q", "-m", "first"]);
    place
}

fn git(place: &PathBuf, words: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(identity).args(words).current_dir(place).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_operation_on_files_does_what_it_says_and_no_more() {
    let home = Home::warm();
    create(&home, None);
    file(&home, ["mkdir", "w", "a/b/c"]).output().succeeds();
    file(&home, ["write", "w", "a/one.txt", "--text", "1", "--mode", "0600"]).output().succeeds();
    let stat = file(&home, ["stat", "w", "a/one.txt", "--json"]).output().succeeds().json();
    assert_eq!((&stat["mode"], &stat["size_bytes"]), (&"0600".into(), &1.into()), "{stat}");
    file(&home, ["write", "w", "a/one.txt", "--create-only", "--text", "2", "--json"])
        .output()
        .fails_with("already_exists");
    file(&home, ["copy", "w", "a", "copied", "--recursive"]).output().succeeds();
    file(&home, ["move", "w", "copied/one.txt", "moved/deep/one.txt"]).output().succeeds();
    file(&home, ["move", "w", "a", "a/b/inside", "--json"]).output().fails_with("invalid_request");
    sh(&home, "stat -c %a moved/deep/one.txt; find a copied | sort")
        .succeeds()
        .prints("600\na\na/b\na/b/c\na/one.txt\ncopied\ncopied/b\ncopied/b/c\n");
    file(&home, ["delete", "w", "gone", "--json"]).output().fails_with("path_not_found");
    file(&home, ["delete", "w", "gone", "--missing-ok"]).output().succeeds();
    file(&home, ["delete", "w", "moved/deep/one.txt"]).output().succeeds();
    // What leads out of the workspace is not followed, whatever is asked.
    sh(&home, "ln -s /etc out; ln -s /etc/passwd passwd; ln -s loop loop").succeeds();
    for words in [["read", "w", "out/passwd"], ["read", "w", "passwd"], ["list", "w", "out/apt"]] {
        file(&home, words).json().output().fails_with("path_escapes");
    }
    file(&home, ["write", "w", "out/evil", "--text", "x", "--json"]).output().fails_with("path_escapes");
    sh(&home, "test ! -e /etc/evil").succeeds();
    let listed = file(&home, ["list", "w", "--recursive", "--json"]).output().succeeds().json();
    assert!(listed["entries"].as_array().unwrap().iter().any(|entry| entry["path"] == "/workspace/loop"));
    // Names that are no text, and lines.
    sh(&home, "printf 'a\\nb\\nc' > lines; touch \"$(printf 'x\\ny')\" \"$(printf '\\377')\"").succeeds();
    file(&home, ["list", "w", "--json"]).output().succeeds();
    file(&home, ["read", "w", "lines", "--lines", "2:2", "--content-only"]).output().prints("b\n");
    let globbed = file(&home, ["glob", "w", "**/*.txt", "--json"]).output().succeeds().json();
    assert_eq!(globbed["entries"].as_array().unwrap().len(), 1, "{globbed}");
    let found = file(&home, ["grep", "w", "^b$", "--json"]).output().succeeds().json();
    assert_eq!(found["matches"].as_array().map(Vec::len), Some(1), "{found}");
    // Any length, both ways.
    let large = home.scratch().join("large");
    let content: Vec<u8> =
        (0..8_u32 << 20).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    fs::write(&large, &content).unwrap();
    file(&home, ["upload", "w", large.to_str().unwrap(), "large"]).output().succeeds();
    let back = home.scratch().join("back");
    file(&home, ["download", "w", "large", back.to_str().unwrap()]).output().succeeds();
    assert!(fs::read(&back).unwrap() == content, "what came back is not what went");
    delete(&home);
}

#[test]
fn what_git_and_diff_write_is_applied_and_what_we_write_git_applies() {
    let home = Home::warm();
    let repository = repository(&home);
    create(&home, Some(repository.to_str().unwrap()));
    // A change of every kind, made on the host, arrives by a patch.
    fs::write(repository.join("src/a.c"), "int a;\nint B;\nint c;\n").unwrap();
    fs::write(repository.join("last"), "no end either").unwrap();
    fs::write(repository.join("dos.txt"), "one\r\n2\r\n").unwrap();
    fs::write(repository.join("new.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(repository.join("new.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(repository.join("link")).unwrap();
    git(&repository, &["add", "-A"]);
    let patch = home.scratch().join("change.patch");
    fs::write(&patch, git(&repository, &["diff", "--cached", "-M"])).unwrap();
    let patch = patch.to_str().unwrap();
    workspace(&home, ["patch", "apply", "w", "--check", "--patch-file", patch]).output().succeeds();
    sh(&home, "git status --porcelain").succeeds().prints("");
    workspace(&home, ["patch", "apply", "w", "--patch-file", patch]).output().succeeds();
    let there = sh(&home, "git add -A && git diff --cached -M").succeeds().text();
    assert_eq!(there, fs::read_to_string(patch).unwrap(), "host and guest changed alike");
    // Twice does not fit, and then nothing is changed.
    workspace(&home, ["patch", "apply", "w", "--json", "--patch-file", patch])
        .output()
        .fails_with("patch_rejected");
    let ours =
        workspace(&home, ["diff", "w", "src", "last", "dos.txt", "new.sh", "link"]).output().succeeds();
    git(&repository, &["reset", "-q", "--hard"]);
    let written = home.scratch().join("ours.patch");
    fs::write(&written, ours.text()).unwrap();
    git(&repository, &["apply", written.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(repository.join("last")).unwrap(), "no end either");
    assert!(fs::symlink_metadata(repository.join("link")).is_err());
    let stat = workspace(&home, ["diff", "w", "--stat", "--json", "src"]).output().succeeds().json();
    let one = |key: &str| stat["summary"][key].as_u64();
    assert_eq!((one("total"), one("modified")), (Some(1), Some(1)), "{stat}");
    delete(&home);
}

#[test]
fn an_overlay_is_no_obstacle() {
    let home = Home::warm();
    let repository = repository(&home);
    create(&home, Some(repository.to_str().unwrap()));
    sh(&home, "mv src lib && mv lib src && git mv src code && git worktree add -q ../tree && git -C ../tree log --oneline | wc -l")
        .succeeds()
        .prints("1\n");
    sh(&home, "ln last again && echo more >> again && cat last").succeeds().prints("no endmore\n");
    // A container runtime's data directory lies on the plain file system.
    sh(
        &home,
        "cd /var/lib/docker && mkdir l u w m && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m && echo x > m/f && cat u/f",
    )
    .succeeds()
    .prints("x\n");
    let changes = workspace(&home, ["diff", "w", "--name-only", "last", "again", "code"]).output().succeeds();
    assert_eq!(changes.lines(), ["again", "code/a.c", "last"]);
    delete(&home);
}

#[test]
fn a_push_makes_the_guest_like_the_host_and_a_process_keeps_its_directory() {
    let home = Home::warm();
    let repository = repository(&home);
    let directory = repository.to_str().unwrap();
    create(&home, Some(directory));
    sh(&home, "echo x > src/left; mkfifo /tmp/go").succeeds();
    let waits = ["exec", "w", "--detach", "--cwd", "src", "--", "sh", "-c", "read x < /tmp/go; ls"];
    let job = workspace(&home, waits).output().succeeds().text().trim().to_owned();
    fs::write(repository.join("src/b.c"), "int d;\n").unwrap();
    let dry = workspace(&home, ["sync", "push", "w", directory, "--delete", "--dry-run", "--json"]);
    assert_eq!(dry.output().succeeds().json()["workspace_sync"]["deleted_count"], Value::from(1));
    sh(&home, "ls src").succeeds().prints("a.c\nleft\n");
    workspace(&home, ["sync", "push", "w", directory, "--delete"]).output().succeeds();
    sh(&home, "echo > /tmp/go").succeeds();
    workspace(&home, ["job", "wait", "w", &job]).output().succeeds().prints("a.c\nb.c\n");
    delete(&home);
}

#[test]
fn a_larger_disk_is_larger_and_settings_say_where_they_come_from() {
    let home = Home::warm();
    workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--disk-mib", "8192"]).output().succeeds();
    let size = sh(&home, "df -m --output=size / | tail -n 1").succeeds().text();
    assert!(size.trim().parse::<u64>().unwrap() > 7000, "{size}");
    let shown =
        home.pyro(["config", "show", "--json"]).env("PYRO_MAX_WORKSPACES", "7").output().succeeds().json();
    let setting = |name: &str| {
        let all = shown["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["variable"] == name).unwrap().clone()
    };
    assert_eq!(setting("PYRO_MAX_WORKSPACES")["source"], "environment");
    assert_eq!(setting("PYRO_DISK_BUDGET_MIB")["source"], "default");
    let garbage = home.pyro(["gc", "--dry-run", "--json"]).output().succeeds().json();
    assert_eq!(garbage["count"], 0, "{garbage}");
    delete(&home);
}
