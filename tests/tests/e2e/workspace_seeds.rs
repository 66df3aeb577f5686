//! Every form of a seed, on real machines: what git tracks, what patterns leave out, archives; with the times of files.

use std::{
    fs,
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

fn create(home: &Home, seed: &Path) -> Invocation {
    workspace(home, ["create", ENVIRONMENT, "--name", "w", "--json", "--seed-path"]).flag(seed)
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

/// A shell script on the host.
#[track_caller]
fn host(place: &Path, script: &str) -> Vec<u8> {
    let git = "git() { command git -c user.name=a -c user.email=a@localhost -c commit.gpgsign=false \"$@\"; }; set -e; ";
    let output =
        Command::new("sh").arg("-c").arg(format!("{git}{script}")).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn directory(home: &Home, name: &str) -> PathBuf {
    let place = home.scratch().join(name);
    fs::create_dir(&place).unwrap();
    place
}

/// A file, its time and its content; in the same words on the host and in a guest.
const TIMES: &str = "find . -path ./.git -prune -o ! -type d -printf '%P %Ts %s\\n' | sort";

#[test]
fn a_seed_of_what_git_tracks_leaves_the_rest_at_home_and_times_are_kept() {
    let home = Home::warm();
    let place = directory(&home, "repository");
    host(
        &place,
        "git init -q -b main; mkdir src; echo 1 > src/tracked; echo 1 > noise.log; echo 1 > gone; ln -s src/tracked link; \
         git add -A; git commit -qm first; echo edited >> src/tracked; echo 1 > untracked; rm gone; \
         touch -h -d @1000000000 link; touch -d @1234567890 src/tracked",
    );
    let made =
        create(&home, &place).flag("--seed-git").flag("--exclude").flag("*.log").output().succeeds().json();
    assert_eq!(made["workspace_seed"]["mode"], "directory", "{made}");
    sh(&home, TIMES).succeeds().prints("link 1000000000 11\nsrc/tracked 1234567890 9\n");
    // The repository itself came along, so that it goes on there.
    sh(&home, "git status --porcelain src").succeeds().prints(" M src/tracked\n");
    // A push takes what git tracks by now, and keeps times too; what it is not told to delete stays.
    host(&place, "git add untracked; touch -d @1300000000 untracked; echo 2 > never");
    let path = place.to_str().unwrap();
    workspace(&home, ["sync", "push", "w", path, "--git"]).output().succeeds();
    sh(&home, TIMES).succeeds().prints(format!(
        "link 1000000000 11\nnoise.log {} 2\nsrc/tracked 1234567890 9\nuntracked 1300000000 2\n",
        mtime(&place.join("noise.log"))
    ));
    // And back: what was not touched has its old time, what was has its new one.
    sh(&home, "echo 3 > made; touch -d @1400000000 made").succeeds();
    let out = home.scratch().join("out");
    workspace(&home, ["export", "w", ".", "--output", out.to_str().unwrap()]).output().succeeds();
    let there = sh(&home, TIMES).succeeds().text();
    assert_eq!(String::from_utf8(host(&out, TIMES)).unwrap(), there);
    assert!(there.contains("made 1400000000 2\n"), "{there}");
    delete(&home);
}

fn mtime(path: &Path) -> String {
    let output = Command::new("stat").args(["-c", "%Y"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The bytes as a zstd frame whose one block is stored as it is, so that no compressor is needed. At most 128 KiB.
fn zstd_stored(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    assert!(length <= 128 << 10, "more than one block holds");
    // Magic number; single segment with a content size of four bytes; one last block, raw.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
    frame.extend(length.to_le_bytes());
    frame.extend(&((length << 3) | 1).to_le_bytes()[..3]);
    frame.extend(content);
    frame
}

#[test]
fn archives_of_every_form_are_taken_and_what_is_no_seed_starts_no_machine() {
    let home = Home::warm();
    let tree = directory(&home, "tree");
    host(
        &tree,
        "mkdir -p a/b; echo deep > a/b/c; touch -d @1000000000 a/b/c; printf '#!/bin/sh\\necho ran\\n' > run; chmod 755 run",
    );
    host(home.scratch(), "tar -C tree -cf plain.tar . && tar -C tree -czf user/seed.TGZ .");
    let plain = fs::read(home.scratch().join("plain.tar")).unwrap();
    fs::write(home.scratch().join("seed.tar.zst"), zstd_stored(&plain)).unwrap();

    // `~` is the caller's home, also where no shell replaces it.
    for seed in [PathBuf::from("~/seed.TGZ"), home.scratch().join("seed.tar.zst")] {
        let made = create(&home, &seed).output().succeeds().json();
        assert_eq!(made["workspace_seed"]["mode"], "tar_archive", "{made}");
        sh(&home, "./run; cat a/b/c; stat -c '%a %Y' a/b/c").succeeds().prints("ran\ndeep\n644 1000000000\n");
        delete(&home);
    }

    let path = |name: &str| home.scratch().join(name);
    fs::write(path("notes.txt"), "no seed\n").unwrap();
    fs::write(path("torn.tar.zst"), &zstd_stored(&plain)[..plain.len() / 2]).unwrap();
    host(home.scratch(), "mkfifo pipe.tar");
    let refused = |name: &str, flags: &[&str], code: &str| {
        let create = flags.iter().fold(create(&home, &path(name)), |create, flag| create.flag(flag));
        create.output().fails_with(code)
    };
    for name in ["notes.txt", "pipe.tar"] {
        let text = refused(name, &[], "seed_failed");
        assert!(text["error"].as_str().unwrap().contains(name), "{text}");
    }
    refused("nothing", &[], "file_failed");
    refused("plain.tar", &["--exclude", "*.log"], "invalid_request");
    refused("plain.tar", &["--seed-git"], "invalid_request");
    assert_eq!(home.machines().len(), 0, "a machine was started for nothing");
    refused("torn.tar.zst", &[], "bad_archive");
    // No work tree, so git tracks nothing there.
    refused("tree", &["--seed-git"], "seed_failed");
    let listed: Value = workspace(&home, ["list", "--json"]).output().succeeds().json();
    assert_eq!(listed["count"], 0, "{listed}");
    home.wait_until_nothing_is_left();
}
