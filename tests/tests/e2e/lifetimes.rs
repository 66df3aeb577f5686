//! How long machines and daemons last without each other, and what counts as use.

use std::time::{Duration, Instant};

use pyro_e2e::{ENVIRONMENT, Home, Invocation};

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

/// Seconds for which an abandoned machine is wanted, and how much longer than that the guest lets it be.
const TTL_SECONDS: u64 = 5;
const MARGIN_SECONDS: u64 = 60;

/// Its minute is spent well: the other half of the test runs meanwhile.
#[test]
fn a_machine_outlives_its_daemon_and_ends_by_itself_when_nobody_comes() {
    let abandoned = Home::warm();
    abandoned.pyro(["workspace", "list"]).output().succeeds();
    let begin = Instant::now();
    let ttl = TTL_SECONDS.to_string();
    abandoned
        .pyro(["workspace", "create", ENVIRONMENT, "--name", "w", "--ttl-seconds", &ttl])
        .output()
        .succeeds();
    // The daemon would end it in time. It cannot any more.
    abandoned.kill_daemon();
    let machine = abandoned.machine();

    machines_outlive_a_daemon_without_work();

    let least = Duration::from_secs(TTL_SECONDS + MARGIN_SECONDS);
    assert!(
        machine.vmm.ends_within(least + Duration::from_secs(60)),
        "the guest keeps no deadline of its own"
    );
    assert!(begin.elapsed() > least, "it ended after {:?}: no daemon had time to take over", begin.elapsed());
    let stopped = abandoned.pyro(["workspace", "status", "w", "--json"]).output().succeeds().json();
    assert_eq!(
        (&stopped["state"], &stopped["stop_reason"]),
        (&"stopped".into(), &"expired".into()),
        "{stopped}"
    );
    abandoned.wait_until_nothing_is_left();
    abandoned.pyro(["workspace", "delete", "w"]).output().succeeds();
}

fn machines_outlive_a_daemon_without_work() {
    let home = Home::warm();
    let soon = workspace(&home, ["create", ENVIRONMENT, "--name", "w"]).env("PYRO_DAEMON_IDLE_SECONDS", "1");
    soon.output().succeeds();
    let machine = home.machine();
    if let Some(daemon) = home.daemon() {
        daemon.assert_ends("a daemon without work");
    }
    assert!(machine.vmm.is_alive(), "the machine ended with its daemon");
    // The next one takes it over.
    workspace(&home, ["exec", "w", "-n", "--", "mkfifo", "/tmp/go"]).output().succeeds();
    let waits = ["exec", "w", "--detach", "--", "sh", "-c", "read x < /tmp/go; echo $x"];
    let job = workspace(&home, waits).output().succeeds().text();
    assert_eq!(home.machine().id, machine.id);

    let status = || workspace(&home, ["status", "w", "--json"]).output().succeeds().json();
    let now = status();
    assert_eq!((&now["state"], &now["running_command_count"]), (&"started".into(), &1.into()), "{now}");
    // What only looks at the records is no use of the workspace; what goes into it is.
    let expires_at = || status()["expires_at"].as_f64().unwrap();
    let looks = [
        &["logs", "w"] as &[&str],
        &["output", "w", "1"],
        &["job", "list", "w"],
        &["job", "logs", "w", job.trim()],
        &["list"],
        &["status", "w"],
    ];
    let ask = |words: &[&str]| home.pyro(["workspace"].iter().chain(words)).output().succeeds();
    let mut last = expires_at();
    for words in looks {
        ask(words);
        assert!((expires_at() - last).abs() < f64::EPSILON, "{words:?} moved the end of its time");
    }
    let uses = [
        &["file", "list", "w"] as &[&str],
        &["file", "write", "w", "a", "--text", "x"],
        &["diff", "w"],
        &["exec", "w", "-n", "--", "true"],
        &["update", "w", "--label", "a=b"],
        &["start", "w"],
    ];
    for words in uses {
        ask(words);
        let moved = expires_at();
        assert!(moved > last, "{words:?} did not move the end of its time");
        last = moved;
    }
    workspace(&home, ["exec", "w", "-n", "--", "sh", "-c", "echo gone-on > /tmp/go"]).output().succeeds();
    workspace(&home, ["job", "wait", "w", job.trim()]).output().succeeds().prints("gone-on\n");
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
