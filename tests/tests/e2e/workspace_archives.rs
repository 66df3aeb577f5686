//! A stopped workspace as one file: loaded in another home it is what it was, and a file that is not as it was saved makes
//! nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation};

use super::{
    fault_points::{full_at, killed_at},
    workspace_faults::names,
};

/// Points on the way of a load.
const LOAD: [&str; 3] = ["load.recorded", "load.half-written", "load.disk-made"];

/// All of them.
pub(crate) fn points() -> impl Iterator<Item = &'static &'static str> {
    LOAD.iter()
}

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, name: &str, script: &str) -> String {
    let run = workspace(home, ["exec", name, "-n", "-q", "--", "sh", "-c", script]);
    run.output().succeeds().text()
}

fn save(home: &Home, archive: &Path) -> Invocation {
    workspace(home, ["save", "w"]).flag(archive).json()
}

fn load(home: &Home, archive: &Path) -> Invocation {
    workspace(home, ["load"]).flag(archive).json()
}

/// What differs from the seed, without the line that says in which workspace.
fn diff(home: &Home, name: &str) -> String {
    let text = workspace(home, ["diff", name]).output().succeeds().text();
    text.lines().skip(1).map(|line| format!("{line}\n")).collect()
}

/// What there is in the guest where something was changed: names, kinds, modes, owners, times, targets and contents.
const LOOK: &str =
    "cd /; find workspace opt/tool etc/me root/private -printf '%p %y %m %U %G %s %n %T@ %l\\n' | sort
     find workspace opt/tool etc/me root/private -type f -exec sha256sum {} + | sort
     cd workspace; tool; dpkg -s pyro-tool | grep Version; test -e /etc/debian_version || echo removed";

/// A stopped workspace with changes of each kind; what is seen in it, and what differs from its seed.
fn stopped(home: &Home) -> (String, String) {
    let seed = home.scratch().join("seed");
    fs::create_dir_all(seed.join("src/deep")).unwrap();
    for file in ["kept", "edited", "gone", "src/deep/a"] {
        fs::write(seed.join(file), format!("{file}\n")).unwrap();
    }
    symlink("../kept", seed.join("src/link")).unwrap();
    let create = workspace(home, ["create", ENVIRONMENT, "--name", "w", "--label", "team=blue"]);
    create
        .flag("--disk-mib")
        .flag("6144")
        .flag("--ttl-seconds")
        .flag("1234")
        .flag("--seed-path")
        .flag(&seed)
        .output()
        .succeeds();
    sh(
        home,
        "w",
        "echo more >> edited; rm gone; mv src moved; chmod 4750 edited; ln kept second; ln -s /etc/hostname outside
         mkfifo fifo; truncate -s 64M holes; printf '\\000\\377' > binary; touch -d 2001-02-03 old
         mkdir /root/private; chmod 700 /root/private; echo x > /root/private/x; echo me > /etc/me
         rm /etc/debian_version; head -c 3000000 /dev/urandom > noise
         mkdir -p /tmp/package/DEBIAN /tmp/package/usr/bin /opt/tool; echo 1 > /opt/tool/version
         printf 'Package: pyro-tool\\nVersion: 7\\nArchitecture: all\\nMaintainer: a <a@example.org>\\nDescription: x\\n' \
           > /tmp/package/DEBIAN/control
         printf '#!/bin/sh\\necho the tool\\n' > /tmp/package/usr/bin/tool; chmod 755 /tmp/package/usr/bin/tool
         dpkg-deb --build /tmp/package /tmp/tool.deb && dpkg -i /tmp/tool.deb",
    );
    let seen = sh(home, "w", LOOK);
    assert!(seen.contains("the tool\n") && seen.contains("Version: 7\nremoved\n"), "{seen}");
    let differs = diff(home, "w");
    assert!(differs.contains("+more") && differs.contains("rename to moved/deep/a"), "{differs}");
    let running = save(home, &home.scratch().join("never")).output();
    running.fails_with("workspace_state");
    assert!(running.text().contains("stop it first"), "{running}");
    workspace(home, ["stop", "w"]).output().succeeds();
    (seen, differs)
}

#[test]
fn what_is_saved_is_loaded_in_another_home_as_it_was() {
    let home = Home::warm();
    let (seen, differs) = stopped(&home);
    let archive = home.scratch().join("w.pyro");
    let saved = save(&home, &archive).output().succeeds().json();
    let about = fs::metadata(&archive).unwrap();
    assert_eq!(saved["bytes_written"], about.len(), "{saved}");
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert!(saved["data_bytes"].as_u64().unwrap() < 200 << 20, "{saved}");
    save(&home, &archive).output().fails_with("output_exists");
    let again = save(&home, &archive).flag("--force").output().succeeds().json();
    assert_eq!(again["sha256"], saved["sha256"], "the same disk gives the same file");
    // Who has no pyro can check it and look into it.
    let digest =
        Command::new("sh").arg("-c").arg("head -c -32 \"$0\" | sha256sum").arg(&archive).output().unwrap();
    assert!(digest.stdout.starts_with(saved["sha256"].as_str().unwrap().as_bytes()));
    let tested = Command::new("zstd").args(["-t", "-q"]).arg(&archive).status().unwrap();
    assert!(tested.success());

    // It goes on where it was saved, and so does one that is loaded beside it under the same name.
    load(&home, &archive).output().succeeds();
    assert_eq!(names(&home), ["w", "w"]);
    let listed = workspace(&home, ["list", "--json"]).output().succeeds().json();
    for item in listed["workspaces"].as_array().unwrap() {
        let id = item["workspace_id"].as_str().unwrap();
        workspace(&home, ["start", id]).output().succeeds();
        assert_eq!(sh(&home, id, LOOK), seen);
        workspace(&home, ["delete", id]).output().succeeds();
    }
    home.wait_until_nothing_is_left();

    let other = Home::warm();
    let moved = other.scratch().join("moved.pyro");
    fs::copy(&archive, &moved).unwrap();
    let loaded = load(&other, &moved).flag("--name").flag("fresh").flag("--label").flag("from=there");
    let loaded = loaded.output().succeeds().json();
    assert_eq!((&loaded["name"], &loaded["state"]), (&"fresh".into(), &"stopped".into()), "{loaded}");
    assert_eq!(loaded["labels"], serde_json::json!({"team": "blue", "from": "there"}), "{loaded}");
    assert_eq!((&loaded["disk_mib"], &loaded["ttl_seconds"]), (&6144.into(), &1234.into()), "{loaded}");
    assert_eq!(loaded["workspace_seed"]["mode"], "directory", "{loaded}");
    assert!(!loaded.to_string().contains(home.scratch().to_str().unwrap()), "{loaded}");
    // The archive is not needed any more.
    fs::remove_file(&moved).unwrap();
    let read = workspace(&other, ["disk", "read", "fresh", "edited", "--json"]).output().succeeds().json();
    assert_eq!(read["content"], "edited\nmore\n");
    workspace(&other, ["start", "fresh"]).output().succeeds();
    assert_eq!(sh(&other, "fresh", LOOK), seen);
    assert_eq!(diff(&other, "fresh"), differs);
    let nowhere = workspace(&other, ["sync", "pull", "fresh", "--json"]).output();
    assert!(nowhere.code() != 0 && nowhere.text().contains("does not say where its seed was"), "{nowhere}");
    // What is written there goes to its own layer, and it can be saved again.
    sh(&other, "fresh", "echo later >> edited; sync");
    workspace(&other, ["stop", "fresh"]).output().succeeds();
    workspace(&other, ["save", "fresh"]).flag(&moved).output().succeeds();
    workspace(&other, ["delete", "fresh"]).output().succeeds();
    workspace(&other, ["load"]).flag(&moved).output().succeeds();
    workspace(&other, ["start", "fresh"]).output().succeeds();
    assert_eq!(sh(&other, "fresh", "cat edited; rm noise; cat /etc/me"), "edited\nmore\nlater\nme\n");
    workspace(&other, ["delete", "fresh"]).output().succeeds();
    other.wait_until_nothing_is_left();
}

/// A home with an archive of an empty workspace, and nothing else.
fn archived() -> (Home, PathBuf) {
    let home = Home::warm();
    workspace(&home, ["create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    sh(&home, "w", "echo kept > kept; sync");
    workspace(&home, ["stop", "w"]).output().succeeds();
    let archive = home.scratch().join("w.pyro");
    save(&home, &archive).output().succeeds();
    workspace(&home, ["delete", "w"]).output().succeeds();
    (home, archive)
}

fn assert_loads(home: &Home, archive: &Path) {
    load(home, archive).output().succeeds();
    workspace(home, ["start", "w"]).output().succeeds();
    assert_eq!(sh(home, "w", "cat kept"), "kept\n");
    workspace(home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_file_that_is_not_as_it_was_saved_makes_nothing() {
    let (home, archive) = archived();
    let whole = fs::read(&archive).unwrap();
    let workspaces = home.path().join("data/workspaces");
    let made =
        || fs::read_dir(&workspaces).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    let bad = home.scratch().join("bad.pyro");
    let refused = |bytes: &[u8], code: &str| {
        fs::write(&bad, bytes).unwrap();
        load(&home, &bad).output().fails_with(code);
        assert_eq!((names(&home).len(), made()), (0, 0));
    };
    for length in [0, 10, 24, whole.len() / 3, whole.len() - 32, whole.len() - 1] {
        refused(&whole[..length], "bad_archive");
    }
    for at in [0, 8, 20, 30, whole.len() / 2, whole.len() - 36, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        refused(&changed, "bad_archive");
    }
    refused(&[&*whole, b"x"].concat(), "bad_archive");
    let newer = [&whole[..20], &2_u32.to_le_bytes(), &whole[24..]].concat();
    refused(&newer, "bad_archive");
    let told = load(&home, &bad).output();
    assert!(told.text().contains("has version 2 of the format"), "{told}");
    load(&home, home.scratch()).output().fails_with("wrong_file_type");
    load(&home, &home.scratch().join("absent")).output().fails_with("file_failed");
    assert_loads(&home, &archive);
}

#[test]
fn a_load_that_is_cut_off_at_a_fault_point_makes_nothing() {
    let (home, archive) = archived();
    home.stop_daemon();
    for point in LOAD {
        killed_at(&home, point, load(&home, &archive)).fails_with("daemon_lost");
        assert_eq!(names(&home), [] as [String; 0], "at {point}");
        home.wait_until_nothing_is_left();
        home.stop_daemon();
    }
    for point in LOAD {
        full_at(&home, point, load(&home, &archive)).fails_with("disk_full");
        assert_eq!(names(&home), [] as [String; 0], "at {point}");
        home.wait_until_nothing_is_left();
        home.stop_daemon();
    }
    assert_loads(&home, &archive);
}
