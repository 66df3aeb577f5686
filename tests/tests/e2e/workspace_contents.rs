//! Contents of single files of workspaces, on real machines: any bytes, any name, any length, and never half of it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
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
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output()
}

fn made() -> Home {
    let home = Home::warm();
    workspace(&home, ["create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    home
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

fn paths(value: &Value) -> Vec<&str> {
    value["entries"].as_array().unwrap().iter().filter_map(|entry| entry["path"].as_str()).collect()
}

#[test]
fn contents_are_read_and_written_in_parts_and_as_they_are() {
    let home = made();
    // Bytes that are no text, by all ways in and out.
    let written =
        file(&home, ["write", "w", "deep/er/bytes", "--stdin", "--json"]).stdin(b"a\0b\xff".as_slice());
    let written = written.output().succeeds().json();
    assert_eq!((&written["mode"], &written["created"]), (&"0644".into(), &true.into()), "{written}");
    let read = file(&home, ["read", "w", "deep/er/bytes", "--json"]).output().succeeds().json();
    assert_eq!((&read["encoding"], &read["content"]), (&"utf-8".into(), &"a\0b\u{fffd}".into()), "{read}");
    assert_eq!(read["content_base64"], "YQBi/w==", "{read}");
    file(&home, ["read", "w", "deep/er/bytes", "--raw"]).output().succeeds().prints(b"a\0b\xff");
    let part = ["read", "w", "deep/er/bytes", "--offset", "1", "--max-bytes", "2", "--content-only"];
    file(&home, part).output().succeeds().prints(b"\0b");
    let cut =
        file(&home, ["read", "w", "deep/er/bytes", "--max-bytes", "1", "--json"]).output().succeeds().json();
    assert_eq!(
        (&cut["truncated"], &cut["size_bytes"], &cut["content"]),
        (&true.into(), &4.into(), &"a".into())
    );
    // Mode and owner stay.
    sh(&home, "printf 'one\\ntwo\\nthree\\n' > lines && chown 33:44 lines && chmod 750 lines").succeeds();
    file(&home, ["write", "w", "lines", "--lines", "2:2", "--text", "2\n2b\n"]).output().succeeds();
    file(&home, ["write", "w", "lines", "--append", "--text", "four"]).output().succeeds();
    sh(&home, "cat lines; stat -c ' %a %u:%g' lines")
        .succeeds()
        .prints("one\n2\n2b\nthree\nfour 750 33:44\n");
    let tail = file(&home, ["read", "w", "lines", "--lines", "4:99", "--json"]).output().succeeds().json();
    assert_eq!((&tail["content"], &tail["total_lines"]), (&"three\nfour".into(), &5.into()), "{tail}");
    file(&home, ["write", "w", "lines", "--mode", "0600", "--text", "x"]).output().succeeds();
    sh(&home, "stat -c %a lines").succeeds().prints("600\n");
    // Text in the place of text, exactly so often as was said.
    sh(&home, "printf 'a.a.a\\n' > dots").succeeds();
    let replace = |words: &[&str]| {
        home.pyro(["workspace", "file", "replace", "w", "dots"].iter().chain(words)).json().output()
    };
    replace(&["--old", "a", "--new", "b", "--count", "2"]).fails_with("count_mismatch");
    replace(&["--old", "A", "--new", "b"]).fails_with("count_mismatch");
    replace(&["--old", ".", "--new", "-", "--count", "0"]).succeeds();
    sh(&home, "cat dots").succeeds().prints("a-a-a\n");
    for (words, code) in [
        (["read", "w", "deep"], "wrong_file_type"),
        (["read", "w", "lines/x"], "wrong_file_type"),
        (["read", "w", "../etc/passwd"], "path_escapes"),
        (["read", "w", "/etc/passwd"], "path_escapes"),
        (["delete", "w", "deep"], "directory_not_empty"),
        (["delete", "w", "/workspace"], "invalid_request"),
    ] {
        file(&home, words).json().output().fails_with(code);
    }
    // A fifo and a device are not waited for.
    sh(&home, "mkfifo fifo; mknod zero c 1 5").succeeds();
    for name in ["fifo", "zero"] {
        file(&home, ["read", "w", name, "--json"]).output().fails_with("wrong_file_type");
    }
    delete(&home);
}

#[test]
fn names_are_bytes_and_no_link_leads_out() {
    let home = made();
    for name in [b"\xff\xfe".as_slice(), b"new\nline", b" -x ", b"\"quoted\"", &[b'n'; 255]] {
        let name = OsStr::from_bytes(name);
        let named = |verb: &str| home.pyro(["workspace", "file", verb, "w"]).flag("--").flag(name);
        home.pyro(["workspace", "file", "write", "w", "--text", "there"])
            .flag("--")
            .flag(name)
            .output()
            .succeeds();
        named("stat").output().succeeds();
        home.pyro(["workspace", "file", "read", "w", "--raw", "--"])
            .flag(name)
            .output()
            .succeeds()
            .prints("there");
        named("delete").output().succeeds();
    }
    sh(&home, "ls -A").succeeds().prints("");
    // In a list such a name is told apart from text.
    sh(&home, "touch \"$(printf '\\377')\"").succeeds();
    let listed = file(&home, ["list", "w", "--json"]).output().succeeds().json();
    assert_eq!(listed["entries"][0]["path"]["base64"], "L3dvcmtzcGFjZS//", "{listed}");

    sh(&home, "mkdir -p in/side; ln -s in alias; ln -s ../in in/self; ln -s /workspace/in absolute; ln -s / root; ln -s ../../../../etc in/up; echo x > in/side/f").succeeds();
    for link in ["alias", "in/self", "absolute"] {
        let path = format!("{link}/side/f");
        let read = file(&home, ["read", "w", &path, "--raw"]).output();
        // A link that stays inside may be followed; one that names `/` is no way, or the same file.
        if link != "absolute" || read.code() == 0 {
            read.succeeds().prints("x\n");
        }
    }
    let out = ["root/etc/passwd", "in/up/passwd", "root/workspace/in"];
    for verb in ["read", "stat", "list", "delete"] {
        for path in out {
            file(&home, [verb, "w", path]).json().output().fails_with("path_escapes");
        }
    }
    for path in out {
        file(&home, ["write", "w", path, "--text", "x", "--json"]).output().fails_with("path_escapes");
        file(&home, ["mkdir", "w", path, "--json"]).output().fails_with("path_escapes");
        file(&home, ["move", "w", "in/side", path, "--json"]).output().fails_with("path_escapes");
        file(&home, ["copy", "w", path, "taken", "--json"]).output().fails_with("path_escapes");
    }
    // Of what lies behind links neither search says a word, and a link itself is removed without its target.
    let globbed = file(&home, ["glob", "w", "**/passwd", "--json"]).output().succeeds().json();
    assert_eq!(paths(&globbed), [] as [&str; 0]);
    file(&home, ["grep", "w", "root:", "--json"]).output().exits(1);
    file(&home, ["delete", "w", "root"]).output().succeeds();
    file(&home, ["delete", "w", "in", "--recursive"]).output().succeeds();
    sh(&home, "test -s /etc/passwd && ls").succeeds();
    delete(&home);
}

#[test]
fn a_large_file_goes_both_ways_as_it_is() {
    let home = made();
    let large = home.scratch().join("large");
    let mut content = Vec::with_capacity(64 << 20);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while content.len() < 64 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend(state.to_le_bytes());
    }
    File::create(&large).unwrap().write_all(&content).unwrap();
    let large = large.to_str().unwrap();
    let sum = Command::new("sha256sum").arg(large).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_owned();
    file(&home, ["upload", "w", large, "dir/large", "--mode", "0755"]).output().succeeds();
    sh(&home, "stat -c '%a %s' dir/large; ls -A dir; sha256sum < dir/large")
        .succeeds()
        .prints(format!("755 67108864\nlarge\n{sum}  -\n"));
    file(&home, ["upload", "w", large, "dir/large", "--create-only", "--json"])
        .output()
        .fails_with("already_exists");
    let target = home.scratch().join("back");
    let back = target.to_str().unwrap();
    file(&home, ["download", "w", "dir/large", back]).output().succeeds();
    assert!(fs::read(&target).unwrap() == content, "what came back is not what went");
    // Nothing of the host is replaced without being told to, nor through a link.
    file(&home, ["download", "w", "dir/large", back, "--json"]).output().fails_with("output_exists");
    fs::remove_file(&target).unwrap();
    let precious = home.scratch().join("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, &target).unwrap();
    sh(&home, "echo small > small").succeeds();
    file(&home, ["download", "w", "small", back, "--json"]).output().fails_with("output_exists");
    file(&home, ["download", "w", "small", back, "--force"]).output().succeeds();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::read_to_string(&target).unwrap(), "small\n");
    file(&home, ["download", "w", "gone", back, "--force", "--json"]).output().fails_with("path_not_found");
    assert_eq!(fs::read_to_string(&target).unwrap(), "small\n");
    delete(&home);
}

/// Watches a seeded file and its directory by inotify, with what every Debian has: `init1`, `add_watch`, `MODIFY`.
const WATCHER: &str = r#"$| = 1; my $watch = syscall(294, 0);
for my $path (@ARGV) { syscall(254, $watch, $path, 2) >= 0 or die }
print "watches\n"; open(my $events, "<&=", $watch); my %seen;
while (keys %seen < @ARGV) { sysread($events, my $event, 4096) or die;
  while (length $event) { my ($by, $mask, $cookie, $length) = unpack "lLLL", $event; $seen{$by} = 1; substr($event, 0, 16 + $length) = "" } }
print "seen\n";"#;

#[test]
fn a_seeded_repository_is_worked_in_as_on_any_disk() {
    let home = Home::warm();
    let seed = home.scratch().join("seed");
    fs::create_dir_all(seed.join("src")).unwrap();
    fs::write(seed.join("src/a"), "one\n").unwrap();
    fs::hard_link(seed.join("src/a"), seed.join("linked")).unwrap();
    let git = "git() { command git -c user.name=a -c user.email=a@localhost -c commit.gpgsign=false \"$@\"; }; set -e; ";
    let script = format!(
        "{git} git init -q -b main; git add -A; git commit -qm first; git checkout -q -b other; git mv src lib; \
         echo two > lib/b; git add -A; git commit -qm second; git checkout -q main; rm linked; ln src/a linked"
    );
    assert!(Command::new("sh").args(["-c", &script]).current_dir(&seed).status().unwrap().success());
    workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--seed-path", seed.to_str().unwrap()])
        .output()
        .succeeds();
    fs::write(home.scratch().join("watcher"), WATCHER).unwrap();
    let watcher = home.scratch().join("watcher");
    sh(&home, "stat -c %h src/a").succeeds().prints("2\n");
    let upload = home.pyro(["workspace", "file", "upload", "w"]).flag(&watcher).flag("watcher").output();
    upload.succeeds();
    sh(&home, "mv watcher /opt").succeeds();
    // A write copies the file up: whoever watches it, or its directory, is told; both its names have it.
    sh(
        &home,
        "perl /opt/watcher src src/a > /tmp/seen & until read x < /tmp/seen; do :; done; echo more >> src/a; wait $!; \
         cat /tmp/seen linked; stat -c %h linked; [ src/a -ef linked ] && echo same",
    )
    .succeeds()
    .prints("watches\nseen\none\nmore\n2\nsame\n");
    sh(
        &home,
        &format!(
            "{git} git checkout -q -- .; git checkout -q other; ls; git status --porcelain; git worktree add -q --detach /opt/tree main; \
             ls /opt/tree; git worktree add -q inside -b third; mv lib code; mv code lib; git status --porcelain; \
             git worktree remove inside; git branch -q -D third; git gc -q; git fsck --no-progress; git checkout -q main; cat src/a; ls"
        ),
    )
    .succeeds()
    .prints("lib\nlinked\nlinked\nsrc\n?? inside/\none\nlinked\nsrc\n");
    // Back where it began, but for git's own files.
    let changed = workspace(&home, ["diff", "w", "--name-only", "src", "lib"]).output().succeeds();
    assert_eq!(changed.lines(), [] as [&str; 0]);
    // The same after a stop: the overlay is mounted as it was.
    workspace(&home, ["stop", "w"]).output().succeeds();
    workspace(&home, ["start", "w"]).output().succeeds();
    sh(
        &home,
        &format!("{git} git status --porcelain; git -C /opt/tree log --format=%s; mv src moved; cat moved/a"),
    )
    .succeeds()
    .prints("first\none\n");
    delete(&home);
}

#[test]
fn a_file_of_the_seed_gives_way_to_one_that_has_its_place_on_the_disk() {
    let home = Home::warm();
    let seed = home.scratch().join("seed");
    fs::create_dir(&seed).unwrap();
    fs::write(seed.join("f"), "old\n").unwrap();
    let create = ["create", ENVIRONMENT, "--name", "w", "--seed-path", seed.to_str().unwrap()];
    workspace(&home, create).output().succeeds();
    file(&home, ["write", "w", "f", "--text", &"new\n".repeat(5_000)]).output().succeeds();
    // Content without one would be lost with the machine, and the file empty.
    let extents = sh(&home, "filefrag -v /workspace/f").succeeds().text();
    assert!(extents.contains(" last,eof") && !extents.contains("delalloc"), "{extents}");
    delete(&home);
}
