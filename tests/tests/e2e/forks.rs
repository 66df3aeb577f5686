//! Workspaces that are forked from another one: they share what it was, and nothing that must be one's own.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pyro_e2e::{Home, Signal, wait_until};
use serde_json::Value;

use super::snapshots::{
    count, create, delete_all, files, once, reset, said, sh, snapshot, start_counter, workspace,
};

fn fork(home: &Home, words: &[&str]) -> Value {
    home.pyro(["workspace", "fork", "w"].iter().chain(words).chain(&["--json"])).output().succeeds().json()
}

/// What no two machines may have in common. 318 is `getrandom`.
const OF_ONES_OWN: &str =
    "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid
     head -c 16 /dev/urandom | od -An -tx1; head -c 16 /dev/random | od -An -tx1; perl -e 'print rand, qq{\\n}'
     perl -e '$bytes = qq{.} x 16; syscall(318, $bytes, 16, 0) == 16 or die; print unpack(q{H*}, $bytes), qq{\\n}'
     openssl rand -hex 16";

#[test]
fn twins_go_on_with_what_runs_and_have_an_identity_of_their_own() {
    let home = Home::warm();
    let id = create(&home, "w");
    start_counter(&home);
    sh(&home, "w", "echo shared > f; echo tool > /opt/tool").succeeds();
    assert_eq!((count(&home, "w"), once(&home, "w")), ("1".to_owned(), "1".to_owned()));

    let forked = fork(&home, &["--count", "3", "--name-prefix", "t", "--label", "try=1"]);
    assert_eq!((&forked["count"], &forked["resumed"]), (&3.into(), &"memory".into()));
    let twins = forked["workspaces"].as_array().unwrap();
    for twin in twins {
        assert_eq!(twin["parent"]["workspace_id"], id.as_str());
        assert_eq!((&twin["state"], &twin["labels"]["try"]), (&"started".into(), &"1".into()));
    }
    let names = ["w", "t-1", "t-2", "t-3"];
    let mut seen = HashSet::new();
    for name in names {
        for line in sh(&home, name, OF_ONES_OWN).succeeds().text().lines() {
            assert!(seen.insert(line.trim().to_owned()), "{name} has {line} of another one");
        }
        assert_eq!(count(&home, name), "2");
        // The call was made in the parent, whatever its key says to others.
        assert_eq!(once(&home, name), if name == "w" { "1" } else { "2" }, "{name}");
        assert_eq!(sh(&home, name, "cat f /opt/tool").succeeds().text(), "shared\ntool\n");
        sh(&home, name, &format!("echo {name} > f")).succeeds();
    }
    for name in names {
        assert_eq!(sh(&home, name, "cat f").succeeds().text().trim(), name);
    }

    // One that breaks has broken nobody else; its baseline is where it began.
    sh(&home, "t-1", "rm -rf /workspace/* /opt /usr/bin/awk").succeeds();
    workspace(&home, ["reset", "t-1"]).output().succeeds();
    assert_eq!(sh(&home, "t-1", "cat f /opt/tool").succeeds().text(), "shared\ntool\n");
    assert_eq!(count(&home, "t-1"), "2");
    assert_eq!(count(&home, "t-2"), "3");

    // Without the parent they are whole, also after another start of everything.
    workspace(&home, ["delete", "w", "--force"]).output().succeeds();
    home.kill_daemon();
    for name in ["t-2", "t-3"] {
        workspace(&home, ["reset", name]).output().succeeds();
        assert_eq!(sh(&home, name, "cat f").succeeds().text(), "shared\n");
        workspace(&home, ["stop", name]).output().succeeds();
        workspace(&home, ["start", name]).output().succeeds();
        assert_eq!(sh(&home, name, "cat f").succeeds().text(), "shared\n");
    }
    delete_all(&home);
}

/// The clock of a guest is the host's.
#[track_caller]
fn is_on_time(home: &Home, name: &str) {
    let guest: u64 = said(home, name, "date +%s").parse().unwrap();
    let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(host.abs_diff(guest) <= 5, "{name}: guest {guest}, host {host}");
}

#[test]
fn forks_from_a_snapshot_begin_there_and_can_be_forked_again() {
    let home = Home::warm();
    create(&home, "w");
    // A clock that is far behind, as that of an old snapshot is.
    sh(&home, "w", "echo then > f; date -s @1000000000").succeeds();
    snapshot(&home, "then");
    sh(&home, "w", "echo now > f").succeeds();
    let forked = fork(&home, &["--snapshot", "then", "--name-prefix", "child"]);
    assert_eq!(forked["workspaces"][0]["parent"]["snapshot_name"], "then");
    is_on_time(&home, "child-1");
    assert_eq!(sh(&home, "child-1", "cat f; echo child > g").succeeds().text(), "then\n");
    let again = home.pyro(["workspace", "fork", "child-1", "--name-prefix", "grand", "--json"]).output();
    again.succeeds();
    assert_eq!(sh(&home, "grand-1", "cat f g").succeeds().text(), "then\nchild\n");
    workspace(&home, ["delete", "child-1"]).output().succeeds();
    workspace(&home, ["reset", "grand-1"]).output().succeeds();
    assert_eq!(sh(&home, "grand-1", "cat f g").succeeds().text(), "then\nchild\n");
    assert_eq!(sh(&home, "w", "cat f").succeeds().text(), "now\n");
    reset(&home, "then");
    is_on_time(&home, "w");
    delete_all(&home);
}

/// Serves TLS 1.3 with a key of the machine.
const SERVE: &str = "cd /run; openssl s_server -accept 127.0.0.1:4433 -key key.pem -cert cert.pem -quiet";
/// Makes the key, and a server that runs before the twins do.
const KEY: &str = "cd /run; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem \\
     -subj /CN=x -days 1 2> /dev/null";
/// Connects to it, and tells the secrets of the session and what the server said first, in hexadecimal.
const CONNECT: &str =
    "cd /run; rm -f secrets; until openssl s_client -connect 127.0.0.1:4433 -keylogfile secrets -msg \\
     < /dev/null > said 2> /dev/null; do sleep 0.1; done
     grep -v '^#' secrets | cut -d' ' -f3; grep -v '^#' secrets | head -n 1 | cut -d' ' -f2
     awk '/^<<< .*ServerHello/ {on = 1; next} /^[^ ]/ {on = 0} on' said | tr -d ' \\n'";

/// The random bytes and the key share in a server's first message of TLS 1.3.
fn drawn_by_server(hello: &str) -> [String; 2] {
    // Four bytes of a header and two of a version before the one; the other comes last.
    [hello[12..76].to_owned(), hello[hello.len() - 64..].to_owned()]
}

#[test]
fn twins_have_no_key_of_a_session_in_common() {
    let home = Home::warm();
    create(&home, "w");
    sh(&home, "w", KEY).succeeds();
    let serve = |name: &str| {
        let exec = workspace(&home, ["exec", name, "--detach"]).timeout_s(0);
        exec.command(["sh", "-c", SERVE]).output().succeeds().text().trim().to_owned()
    };
    let job = serve("w");
    let connect = |name: &str| sh(&home, name, CONNECT).succeeds().lines();
    let mut seen = HashSet::new();
    let mut draws = |name: &str, drawn: Vec<String>| {
        for word in drawn {
            assert!(
                word.len() >= 64 && seen.insert(word.clone()),
                "{name} has {word} of another one, or it is short"
            );
        }
    };
    draws("w", connect("w")[..6].to_vec());
    fork(&home, &["--count", "2", "--name-prefix", "t"]);
    for name in ["w", "t-1", "t-2"] {
        // With the server that is the same process in all, which draws as it would have drawn: the client makes the difference.
        draws(name, connect(name)[..6].to_vec());
        // One that is started afterwards has nothing in common with any other.
        workspace(&home, ["job", "kill", name, &job]).output().succeeds();
        serve(name);
        let mut drawn = connect(name);
        let hello = drawn.pop().unwrap();
        drawn.extend(drawn_by_server(&hello));
        draws(name, drawn);
    }
    delete_all(&home);
}

/// Machines and workspaces that there are when everything that was begun is done.
fn settled(home: &Home) -> usize {
    let mut count = 0;
    // What is written down last, of one that is made and of one that goes, is in the store's index.
    wait_until("twins are made or gone", &home.path().join("data"), Duration::from_secs(60), || {
        let list = workspace(home, ["list", "--json"]).output().succeeds().json();
        let workspaces = list["workspaces"].as_array().unwrap();
        count = workspaces.len();
        workspaces.iter().all(|item| item["state"] == "started") && home.machines().len() == count
    });
    count
}

#[test]
fn a_fork_whose_caller_is_killed_is_made_whole_or_not_at_all() {
    let home = Home::warm();
    create(&home, "w");
    sh(&home, "w", "echo kept > f; echo kept > /dev/shm/f").succeeds();
    // When the first twin is begun, and when the last one is.
    for begun in [2, 4] {
        let caller = workspace(&home, ["fork", "w", "--count", "3", "--name-prefix", "t"]).start();
        home.wait_until_begun(begun);
        caller.signal(Signal::KILL);
        drop(caller.finish());
        let count = settled(&home);
        assert!([1, 4].contains(&count), "{count} workspaces");
        for twin in ["t-1", "t-2", "t-3"].iter().filter(|_| count == 4) {
            sh(&home, twin, "cat f /dev/shm/f").succeeds().prints("kept\nkept\n");
            workspace(&home, ["delete", twin]).output().succeeds();
        }
        sh(&home, "w", "cat f /dev/shm/f").succeeds().prints("kept\nkept\n");
        assert_eq!(settled(&home), 1);
    }
    delete_all(&home);
}

#[test]
fn more_than_fits_is_refused_before_anything_starts() {
    let home = Home::warm();
    let id = create(&home, "w");
    let machine = home.machine().id;
    let layers = files(&home, &id, "disk", ".qcow2");
    home.stop_daemon();
    let fork = workspace(&home, ["fork", "w", "--count", "9", "--json"]);
    let refused = fork.env("PYRO_MEMORY_BUDGET_MIB", "4096").output();
    refused.fails_with("limit_reached");
    let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
    assert_eq!(list["count"], 1);
    let listed = workspace(&home, ["snapshot", "list", "w", "--json"]).output().succeeds().json();
    assert_eq!(listed["count"], 1);
    // Not even the parent was captured.
    assert_eq!(home.machine().id, machine);
    assert_eq!(files(&home, &id, "disk", ".qcow2"), layers);
    delete_all(&home);
}

/// Draws random bytes and the host's name, again and again, as fast as it can.
const DRAW: &str = r#"open R, "<", "/dev/urandom"; open L, ">", "/dev/shm/drawn"; my $n = 0;
until (-e "/run/stop" or $n++ > 400000) {
    sysread R, $b, 8; open H, "<", "/proc/sys/kernel/hostname"; $h = <H>;
    syswrite L, unpack("H*", $b) . " $h";
}
open S, ">", "/run/stopped";"#;

#[test]
fn what_runs_when_it_is_forked_runs_on_with_an_identity_of_its_own() {
    let home = Home::warm();
    create(&home, "w");
    let drawn = |name: &str| {
        let all = sh(
            &home,
            name,
            "touch /run/stop; until test -e /run/stopped; do sleep 0.05; done; head -n 5000 /dev/shm/drawn",
        );
        all.succeeds().text().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    workspace(&home, ["exec", "w", "--detach", "--", "perl", "-e", DRAW]).output().succeeds();
    said(
        &home,
        "w",
        "until test -e /dev/shm/drawn && test $(wc -l < /dev/shm/drawn) -ge 100; do sleep 0.01; done",
    );
    snapshot(&home, "s");
    fork(&home, &["--snapshot", "s", "--count", "3", "--name-prefix", "t"]);
    let parent = drawn("w");
    // All begin with what was drawn before. Had one drawn anything before it was itself, it would have more in common with its parent.
    let in_common =
        |twin: &[String]| twin.iter().zip(&parent).take_while(|(one, other)| one == other).count();
    let mut begins = HashSet::new();
    for name in ["t-1", "t-2", "t-3"] {
        let twin = drawn(name);
        let before = in_common(&twin);
        assert!((100..parent.len()).contains(&before) && before < twin.len(), "{before} of {}", twin.len());
        let host = said(&home, name, "hostname");
        let strange = twin[before..].iter().find(|line| !line.ends_with(&format!(" {host}")));
        assert_eq!(strange, None, "{name} is {host}");
        begins.insert(before);
    }
    assert_eq!(begins.len(), 1, "{begins:?}");
    delete_all(&home);
}
