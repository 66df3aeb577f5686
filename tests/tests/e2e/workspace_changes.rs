//! Patches into workspaces and differences out of them, on real machines: what other programs write is applied whole
//! or not at all, and what we write other programs apply.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Outcome};
use serde_json::Value;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output()
}

fn patched(home: &Home, patch: impl Into<Vec<u8>>) -> Outcome {
    workspace(home, ["patch", "apply", "w", "--stdin", "--json"]).stdin(patch).output()
}

fn diff(home: &Home, words: &[&str]) -> Outcome {
    home.pyro(["workspace", "diff", "w"].iter().chain(words)).output().succeeds()
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

/// A directory with something of every kind that a patch can change.
fn seed(home: &Home) -> PathBuf {
    let seed = home.scratch().join("seed");
    fs::create_dir_all(seed.join("src/deep")).unwrap();
    let numbers = |count: u32| (1..=count).map(|number| format!("line {number}\n")).collect::<String>();
    fs::write(seed.join("many"), numbers(100)).unwrap();
    fs::write(seed.join("src/deep/moves"), numbers(40)).unwrap();
    fs::write(seed.join("src/goes"), "it goes\n").unwrap();
    fs::write(seed.join("tool"), "#!/bin/sh\n").unwrap();
    fs::write(seed.join("endless"), "no end").unwrap();
    fs::write(seed.join("dos"), "one\r\ntwo\r\nthree\r\n").unwrap();
    fs::write(seed.join("blob"), [0_u8, 1, 2, 3]).unwrap();
    symlink("many", seed.join("link")).unwrap();
    fs::copy(seed.join("many"), seed.join("with space")).unwrap();
    seed
}

fn create(home: &Home, seed: &Path) {
    workspace(home, ["create", ENVIRONMENT, "--name", "w"])
        .flag("--seed-path")
        .flag(seed)
        .output()
        .succeeds();
}

/// A program of the host, whose exit status is `code`.
#[track_caller]
fn host(place: &Path, program: &str, words: &[&str], code: i32) -> Vec<u8> {
    let output = Command::new(program).args(words).current_dir(place).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{program} {words:?}: {errors}");
    output.stdout
}

/// Every file of a tree with its mode, digest or target, in the same words on the host and in a guest.
const PICTURE: &str = "find . -type f -exec stat -c '%a %n' {} + | sort -k2; find . -type f -exec sha256sum {} + | sort -k2; find . -type l -printf '%p %l\\n' | sort";

fn picture(place: &Path) -> String {
    String::from_utf8(host(place, "sh", &["-c", PICTURE], 0)).unwrap()
}

#[test]
fn a_patch_of_other_programs_is_applied_whole_or_not_at_all() {
    let home = Home::warm();
    let seed = seed(&home);
    create(&home, &seed);
    // What `diff -u` writes, of a tree that has changed, with no word of git in it.
    let new = home.scratch().join("new");
    host(home.scratch(), "cp", &["-a", "seed", "new"], 0);
    fs::write(new.join("dos"), "one\r\n2\r\nthree\r\n").unwrap();
    fs::write(new.join("endless"), "no end\n").unwrap();
    fs::write(new.join("src/added"), "first\nno end").unwrap();
    fs::remove_file(new.join("src/goes")).unwrap();
    fs::remove_file(new.join("with space")).unwrap();
    let plain = host(home.scratch(), "diff", &["-urN", "--no-dereference", "seed", "new"], 1);
    let before = sh(&home, PICTURE).succeeds().text();
    let checked =
        workspace(&home, ["patch", "apply", "w", "--stdin", "--check", "--json"]).stdin(plain.clone());
    let checked = checked.output().succeeds().json();
    assert_eq!(checked["summary"]["total"], 5, "{checked}");
    sh(&home, PICTURE).succeeds().prints(&before);
    // The last file does not fit: none is changed.
    let spoilt = [plain.as_slice(), b"--- a/tool\n+++ b/tool\n@@ -1 +1 @@\n-never was\n+x\n"].concat();
    let refused = patched(&home, spoilt).fails_with("patch_rejected");
    assert!(refused["error"].as_str().unwrap().contains("tool"), "{refused}");
    sh(&home, PICTURE).succeeds().prints(&before);
    let done = patched(&home, plain.clone()).succeeds().json();
    let counts = |key: &str| done["summary"][key].as_u64();
    assert_eq!(
        (counts("added"), counts("deleted"), counts("modified")),
        (Some(1), Some(2), Some(2)),
        "{done}"
    );
    sh(&home, PICTURE).succeeds().prints(picture(&new));
    // And backwards.
    workspace(&home, ["patch", "apply", "w", "--stdin", "-R"]).stdin(plain).output().succeeds();
    sh(&home, PICTURE).succeeds().prints(&before);
    // A hunk that fits elsewhere says where.
    let moved = "--- a/many\n+++ b/many\n@@ -40,3 +40,3 @@\n line 50\n-line 51\n+fifty-one\n line 52\n";
    let moved = patched(&home, moved).succeeds().json();
    let shifted = &moved["entries"][0]["shifted"][0];
    assert_eq!((&shifted["offset"], &shifted["line"]), (&10.into(), &50.into()), "{moved}");
    sh(&home, "sed -n 51p many").succeeds().prints("fifty-one\n");
    for (patch, code) in [
        ("no patch at all\n", "patch_malformed"),
        ("--- a/../up\n+++ b/../up\n@@ -0,0 +1 @@\n+x\n", "patch_malformed"),
        ("--- /dev/null\n+++ b/out/evil\n@@ -0,0 +1 @@\n+x\n", "path_escapes"),
        ("--- /dev/null\n+++ b/tool\n@@ -0,0 +1 @@\n+x\n", "patch_rejected"),
        ("--- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-y\n+x\n", "patch_rejected"),
    ] {
        sh(&home, "ln -sfn /etc out").succeeds();
        patched(&home, patch).fails_with(code);
    }
    sh(&home, "test ! -e /etc/evil").succeeds();
    // A binary patch is refused by name.
    let binary = "diff --git a/blob b/blob\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZ?wbhEHbU\n\nliteral 1\nIcmZ?wbhEHbU\n\n";
    let refused = patched(&home, binary);
    assert!(refused.code() != 0 && refused.text().contains("blob"), "{refused}");
    delete(&home);
}

#[test]
fn a_difference_says_all_that_changed_and_git_makes_the_same_of_it() {
    let home = Home::warm();
    let seed = seed(&home);
    create(&home, &seed);
    assert_eq!(diff(&home, &["--json"]).json()["changed"], false);
    let script = "mv src lib && chmod 755 tool && ln -sfn tool link && rm many && sed -i s/two/2/ dos && mkdir -p a/b \
                  && printf 'end' > 'a/b/with space and \"' && echo changed >> lib/deep/moves && printf '\\n' >> endless \
                  && printf 'x\\n' > \"$(printf 'tab\\there')\" && printf 'y\\n' > \"$(printf 'n\\377n\\nl')\"";
    sh(&home, script).succeeds();
    let patch = home.scratch().join("ours.patch");
    workspace(&home, ["export", "w", "--patch", "--output", patch.to_str().unwrap()]).output().succeeds();
    let exported = fs::read(&patch).unwrap();
    assert!(diff(&home, &[]).stdout.ends_with(&exported), "one patch, however it is taken");
    let copy = home.scratch().join("copy");
    host(home.scratch(), "cp", &["-a", "seed", "copy"], 0);
    host(&copy, "git", &["apply", "--whitespace=nowarn", patch.to_str().unwrap()], 0);
    let there = sh(&home, PICTURE).succeeds();
    assert!(there.stdout == host(&copy, "sh", &["-c", PICTURE], 0), "git makes something else: {there}");

    let all = diff(&home, &["--json"]).json();
    let entry = |path: &str| {
        let entries = all["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["path"] == path).unwrap_or_else(|| panic!("{path}: {all}")).clone()
    };
    assert_eq!(entry("lib/goes")["old_path"], "src/goes");
    assert_eq!(entry("lib/deep/moves")["status"], "renamed", "{all}");
    assert_eq!(entry("tool")["new"]["mode"], "0755");
    assert_eq!(entry("link")["artifact_type"], "symlink");
    assert_eq!(entry("many")["status"], "deleted");
    // A binary file has sizes and digests and no text, and the others still make a patch.
    sh(&home, "printf '\\000\\001' > blob; seq 1 20000 > large").succeeds();
    let some = diff(&home, &["--json", "blob", "tool"]).json();
    assert_eq!(some["entries"].as_array().unwrap().len(), 2, "{some}");
    let blob = some["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == "blob").unwrap();
    assert_eq!(
        (&blob["binary"], &blob["old"]["size_bytes"], &blob["new"]["size_bytes"]),
        (&true.into(), &4.into(), &2.into())
    );
    let digest = host(home.scratch(), "sh", &["-c", "printf '\\000\\001' | sha256sum"], 0);
    assert!(digest.starts_with(blob["new"]["sha256"].as_str().unwrap().as_bytes()), "{blob}");
    // What does not fit into the bound is named; what fits is there.
    let bounded = diff(&home, &["--json", "--max-bytes", "4096", "large", "tool"]).json();
    assert_eq!(bounded["left_out"], Value::from(vec!["large"]), "{bounded}");
    assert!(bounded["patch"].as_str().unwrap().contains("new mode 100755"), "{bounded}");
    assert_eq!(
        diff(&home, &["--name-only", "lib", "tool", "large"]).lines(),
        ["large", "lib/deep/moves", "lib/goes", "tool"]
    );
    let stat = diff(&home, &["--stat", "--json", "large", "many"]).json();
    let count = |key: &str| stat["summary"][key].as_u64();
    assert_eq!((count("added_lines"), count("removed_lines")), (Some(20_000), Some(100)), "{stat}");
    let plain = diff(&home, &["--no-renames", "--json", "src", "lib"]).json();
    assert_eq!(
        (&plain["summary"]["renamed"], &plain["summary"]["deleted"]),
        (&0.into(), &2.into()),
        "{plain}"
    );
    // Against the directory of the host as it is now.
    fs::set_permissions(seed.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(seed.join("blob"), [0_u8, 1]).unwrap();
    assert_eq!(diff(&home, &["--against", "host", "--name-only", "tool", "blob", "dos"]).lines(), ["dos"]);
    delete(&home);
}
