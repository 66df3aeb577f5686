//! Workspaces from the outside: made, found, worked in, stopped, started, taken over, deleted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use pyro_e2e::{Home, Invocation, Outcome, Signal};
use serde_json::Value;

/// What every workspace here is made from.
pub(crate) use pyro_e2e::ENVIRONMENT;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "--", "sh", "-c", script]).output()
}

fn made(home: &Home, seed: Option<&Path>) -> Value {
    let mut create = workspace(home, ["create", ENVIRONMENT, "--name", "w", "--json"]);
    if let Some(seed) = seed {
        create = create.flag("--seed-path").flag(seed);
    }
    create.output().succeeds().json()
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

/// A directory with a bit of everything.
fn seed(home: &Home) -> PathBuf {
    let seed = home.scratch().join("seed");
    fs::create_dir_all(seed.join("src/deep")).unwrap();
    fs::create_dir(seed.join("empty")).unwrap();
    fs::write(seed.join("src/a.txt"), "one\ntwo\nthree\n").unwrap();
    fs::write(seed.join("run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(seed.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(seed.join("src/a.txt"), seed.join("src/b.txt")).unwrap();
    symlink("../a.txt", seed.join("src/deep/up")).unwrap();
    symlink("/nowhere", seed.join("absolute")).unwrap();
    fs::write(seed.join(".pyroignore"), "*.log\n").unwrap();
    fs::write(seed.join("noise.log"), "x").unwrap();
    seed
}

#[test]
fn a_seed_arrives_as_it_is_and_survives_a_stop() {
    let home = Home::warm();
    let created = made(&home, Some(&seed(&home)));
    assert_eq!(created["workspace_seed"]["mode"], "directory", "{created}");
    sh(&home, "./run.sh; readlink src/deep/up absolute; stat -c %a,%u,%h run.sh src/a.txt; ls -d empty; ls")
        .succeeds()
        .prints("ran\n../a.txt\n/nowhere\n755,0,1\n644,0,2\nempty\nabsolute\nempty\nrun.sh\nsrc\n");
    // The baseline stays apart: what changes, and only that, is a difference.
    workspace(&home, ["diff", "w", "--name-only"]).output().succeeds().prints("");
    sh(&home, "mv src lib && echo four >> lib/a.txt && echo x > /etc/kept").succeeds();
    let stopped = workspace(&home, ["stop", "w", "--json"]).output().succeeds().json();
    assert_eq!((&stopped["state"], &stopped["stop_reason"]), (&"stopped".into(), &"requested".into()));
    workspace(&home, ["exec", "w", "--json", "--", "true"]).output().fails_with("workspace_state");
    workspace(&home, ["start", "w"]).output().succeeds();
    sh(&home, "tail -n 1 lib/b.txt; cat /etc/kept").succeeds().prints("four\nx\n");
    delete(&home);
}

#[test]
fn names_and_labels_find_a_workspace_again() {
    let home = Home::warm();
    let first = made(&home, None);
    let second = workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--label", "team=red", "--id-only"]);
    let second = second.output().succeeds().text().trim().to_owned();
    let ambiguous = workspace(&home, ["status", "w", "--json"]).output().fails_with("ambiguous_name");
    assert!(ambiguous["error"].as_str().unwrap().contains(&second), "{ambiguous}");
    workspace(&home, ["update", &second, "--name", "other", "--ttl-seconds", "0"]).output().succeeds();
    let list = |words: &[&str]| {
        let listed =
            home.pyro(["workspace", "list", "--json"].iter().chain(words)).output().succeeds().json();
        let ids = listed["workspaces"].as_array().unwrap().iter();
        ids.map(|item| item["workspace_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = first["workspace_id"].as_str().unwrap().to_owned();
    assert_eq!(list(&[]), [second.clone(), first.clone()], "last used first");
    assert_eq!(list(&["--label", "team=red"]), std::slice::from_ref(&second));
    assert_eq!(list(&["--name", "w"]), [first]);
    workspace(&home, ["status", "nobody", "--json"]).output().fails_with("unknown_workspace");
    let limited = home.pyro(["workspace", "create", ENVIRONMENT, "--mem-mib", "32768", "--json"]);
    home.stop_daemon();
    limited.env("PYRO_MEMORY_BUDGET_MIB", "4096").output().fails_with("limit_reached");
    workspace(&home, ["delete", &second]).output().succeeds();
    delete(&home);
}

#[test]
fn a_workspace_that_nobody_uses_is_stopped_and_not_lost() {
    let home = Home::warm();
    made(&home, None);
    sh(&home, "echo kept > kept").succeeds();
    workspace(&home, ["update", "w", "--ttl-seconds", "1"]).output().succeeds();
    // Its machine's directory is the last thing to go.
    pyro_e2e::wait_until("it expires", &home.machines_directory(), Duration::from_secs(60), || {
        let status = workspace(&home, ["status", "w", "--json"]).output().succeeds().json();
        status["stop_reason"] == "expired"
    });
    workspace(&home, ["update", "w", "--ttl-seconds", "600"]).output().succeeds();
    workspace(&home, ["start", "w"]).output().succeeds();
    sh(&home, "cat kept").succeeds().prints("kept\n");
    delete(&home);
}

#[test]
fn commands_of_four_callers_are_all_recorded_each_once() {
    let home = Home::warm();
    made(&home, None);
    let one = |number: usize| sh(&home, &format!("echo {number} >> /tmp/ran")).succeeds();
    std::thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || (0..25).for_each(|call| drop(one(caller * 25 + call))));
        }
    });
    sh(&home, "sort -n /tmp/ran | uniq | wc -l; wc -l < /tmp/ran").succeeds().prints("100\n100\n");
    let logs = workspace(&home, ["logs", "w", "--limit", "1000", "--json"]).output().succeeds().json();
    let sequences =
        logs["entries"].as_array().unwrap().iter().map(|entry| entry["sequence"].as_u64().unwrap());
    assert_eq!(sequences.collect::<Vec<_>>(), (1..=101).collect::<Vec<_>>());
    delete(&home);
}

#[test]
fn a_job_outlives_its_caller_and_its_daemon() {
    let home = Home::warm();
    made(&home, None);
    let job = workspace(
        &home,
        ["exec", "w", "--detach", "--", "sh", "-c", "echo begun; read x < /tmp/go; echo $x"],
    );
    sh(&home, "mkfifo /tmp/go").succeeds();
    let job = job.output().succeeds().text().trim().to_owned();
    home.kill_daemon();
    let jobs = workspace(&home, ["job", "list", "w", "--json"]).output().succeeds().json();
    assert_eq!(jobs["running_count"], 1, "{jobs}");
    sh(&home, "echo gone-on > /tmp/go").succeeds();
    workspace(&home, ["job", "wait", "w", &job]).output().succeeds().prints("begun\ngone-on\n");
    // A key makes a call one call, however often it is made.
    let once = || {
        let words = [
            "exec",
            "w",
            "-n",
            "--idempotency-key",
            "k",
            "--",
            "sh",
            "-c",
            "echo x >> /tmp/k; wc -l < /tmp/k",
        ];
        workspace(&home, words).output().succeeds().prints("1\n")
    };
    once();
    once();
    let timed = workspace(
        &home,
        ["exec", "w", "-n", "--timeout-seconds", "1", "--", "sh", "-c", "echo part; sleep 60"],
    );
    timed.output().exits(124).prints("part\n");
    delete(&home);
}

#[test]
fn who_interrupts_ends_the_command_and_a_job_can_be_killed() {
    let home = Home::warm();
    made(&home, None);
    let mut running =
        workspace(&home, ["exec", "w", "-n", "--", "sh", "-c", "trap '' TERM; echo up; exec sleep 600"])
            .start();
    assert_eq!(running.line(), "up");
    running.signal(Signal::TERM);
    running.finish().exits(143);
    let job = workspace(&home, ["exec", "w", "--detach", "--", "sleep", "600"]);
    let job = job.output().succeeds().text().trim().to_owned();
    let killed = workspace(&home, ["job", "kill", "w", &job, "--signal", "KILL", "--json"]);
    let killed = killed.output().succeeds().json();
    assert_eq!((&killed["signalled"], &killed["sent_signal"]), (&true.into(), &"KILL".into()), "{killed}");
    workspace(&home, ["job", "wait", "w", &job]).output().exits(137);
    let jobs = workspace(&home, ["job", "list", "w", "--json"]).output().succeeds().json();
    assert_eq!(jobs["running_count"], 0, "{jobs}");
    // Nothing runs, so nothing has to be forced.
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn files_are_changed_without_a_shell() {
    let home = Home::warm();
    made(&home, Some(&seed(&home)));
    workspace(&home, ["file", "replace", "w", "src/a.txt", "--old", "two", "--new", "2"]).output().succeeds();
    // One content under two names, as in the seed: an edit in one step gives the name it was made under its own.
    workspace(&home, ["file", "read", "w", "src/a.txt", "--content-only"]).output().prints("one\n2\nthree\n");
    workspace(&home, ["file", "write", "w", "run.sh", "--text", "#!/bin/sh\necho 2\n"]).output().succeeds();
    sh(&home, "./run.sh").succeeds().prints("2\n");
    workspace(&home, ["file", "read", "w", "absolute", "--json"]).output().fails_with("path_escapes");
    workspace(&home, ["file", "read", "w", "gone", "--json"]).output().fails_with("path_not_found");
    workspace(&home, ["file", "replace", "w", "src/a.txt", "--old", "e", "--new", "x", "--json"])
        .output()
        .fails_with("count_mismatch");
    let bad = "--- a/run.sh\n+++ b/run.sh\n@@ -1,2 +1,2 @@\n #!/bin/sh\n-echo 2\n+echo 3\n--- a/src/a.txt\n+++ b/src/a.txt\n@@ -1 +1 @@\n-never\n+x\n";
    workspace(&home, ["patch", "apply", "w", "--json", "--patch", bad]).output().fails_with("patch_rejected");
    sh(&home, "./run.sh").succeeds().prints("2\n");
    workspace(&home, ["file", "grep", "w", "thr.e", "--json"]).output().succeeds();
    // Our own difference goes back onto a copy of the seed.
    let patch = home.scratch().join("w.patch");
    workspace(&home, ["export", "w", ".", "--patch", "--output", patch.to_str().unwrap()])
        .output()
        .succeeds();
    let copy = home.scratch().join("seed");
    let applied = std::process::Command::new("git").args(["apply"]).arg(&patch).current_dir(&copy).status();
    assert!(applied.unwrap().success());
    assert_eq!(fs::read_to_string(copy.join("src/a.txt")).unwrap(), "one\n2\nthree\n");
    delete(&home);
}

#[test]
fn changes_go_both_ways_and_none_is_lost() {
    let home = Home::warm();
    let seed = seed(&home);
    made(&home, Some(&seed));
    let directory = seed.to_str().unwrap();
    sh(&home, "echo guest > new; echo guest > run.sh").succeeds();
    fs::write(seed.join("run.sh"), "host\n").unwrap();
    fs::write(seed.join("mine"), "host\n").unwrap();
    let pulled = workspace(&home, ["sync", "pull", "w", directory, "--json"]).output();
    assert_eq!(fs::read_to_string(seed.join("new")).unwrap(), "guest\n", "{pulled}");
    assert_eq!(fs::read_to_string(seed.join("run.sh")).unwrap(), "host\n", "a conflict is not written");
    assert!(pulled.text().contains("run.sh"), "{pulled}");
    workspace(&home, ["sync", "push", "w", directory]).output().succeeds();
    sh(&home, "cat mine run.sh").succeeds().prints("host\nhost\n");
    let out = home.scratch().join("out");
    workspace(&home, ["export", "w", "src", "--output", out.to_str().unwrap()]).output().succeeds();
    assert_eq!(fs::read_link(out.join("deep/up")).unwrap(), Path::new("../a.txt"));
    workspace(&home, ["export", "w", "src", "--json", "--output", out.to_str().unwrap()])
        .output()
        .fails_with("output_exists");
    delete(&home);
}

#[test]
fn a_hostile_archive_makes_no_workspace() {
    let home = Home::warm();
    let archive = home.scratch().join("bad.tar");
    fs::write(&archive, archive_with("../x")).unwrap();
    let create =
        workspace(&home, ["create", ENVIRONMENT, "--json", "--seed-path", archive.to_str().unwrap()]);
    create.output().fails_with("bad_archive");
    let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
    assert_eq!(list["count"], 0);
    home.wait_until_nothing_is_left();
}

/// A tar archive with one empty file of that name.
fn archive_with(name: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, "00000000000");
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    // Two empty blocks end it.
    [header.as_slice(), &[0; 1024]].concat()
}
