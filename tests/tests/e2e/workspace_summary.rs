//! What happened in a workspace, as whoever comes back to it asks.

use pyro_e2e::{ENVIRONMENT, Home, Invocation};
use serde_json::{Value, json};

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn summary(home: &Home, since: Option<&str>) -> Value {
    let asked = workspace(home, ["summary", "w", "--json"]);
    let asked = since.into_iter().fold(asked, |asked, since| asked.flag("--since").flag(since));
    asked.output().succeeds().json()
}

fn sh(home: &Home, script: &str) -> i32 {
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output().code()
}

fn cursor(summary: &Value) -> String {
    summary["cursor"].as_str().unwrap().to_owned()
}

#[test]
fn a_summary_says_what_is_new_and_nothing_else() {
    let home = Home::warm();
    let seed = home.scratch().join("seed");
    std::fs::create_dir(&seed).unwrap();
    std::fs::write(seed.join("gone"), "x").unwrap();
    std::fs::write(seed.join("kept"), "x").unwrap();
    let create = workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--seed-path"]).flag(&seed);
    create.output().succeeds();

    let fresh = summary(&home, None);
    for absent in ["commands", "failures", "running", "files", "notes"] {
        assert_eq!(fresh.get(absent), None, "{absent} in {fresh}");
    }

    assert_eq!(sh(&home, "echo one > one; rm gone; echo it broke >&2; exit 3"), 3);
    let begun = workspace(&home, ["exec", "w", "-n", "--detach", "--", "sh", "-c", "sleep 1000"]);
    let job = begun.output().succeeds().text().trim().to_owned();
    let first = summary(&home, Some(&cursor(&fresh)));
    assert_eq!(first["commands"], json!({"total": 2, "failed": 1, "running": 1}), "{first}");
    let failure = &first["failures"][0];
    assert_eq!((&failure["exit_code"], &failure["output_end"]), (&json!(3), &json!("it broke")), "{first}");
    assert_eq!(first["running"][0]["job_id"], job);
    let files = &first["files"];
    assert_eq!((&files["added"], &files["deleted"], &files["total"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!(files["first"][0], json!({"path": "one", "status": "added"}), "{first}");

    workspace(&home, ["file", "write", "w", "two", "--text", "two"]).output().succeeds();
    workspace(&home, ["job", "kill", "w", &job]).output().succeeds();
    workspace(&home, ["job", "wait", "w", &job]).output();
    let second = summary(&home, Some(&cursor(&first)));
    // It began before the first summary and ended after it.
    assert_eq!(second["commands"], json!({"total": 1, "failed": 1, "running": 0}), "{second}");
    assert_eq!(second["failures"][0]["job_id"], job);
    assert_eq!(second["files"]["first"][0], json!({"path": "two", "status": "added"}), "{second}");
    assert_eq!(second["files"]["added"], 1, "the other one is as it was: {second}");
    let after_first = summary(&home, Some("c1"));
    assert_eq!(after_first["commands"]["total"], 1, "{after_first}");
    let unknown = workspace(&home, ["summary", "w", "--json", "--since", "c99"]).output();
    unknown.fails_with("unknown_sequence");

    workspace(&home, ["stop", "w"]).output().succeeds();
    let stopped = summary(&home, None);
    assert_eq!(stopped["commands"]["total"], 2);
    assert!(stopped["notes"][0].as_str().unwrap().contains("no machine"), "{stopped}");
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_summary_of_much_keeps_to_its_budget() {
    let home = Home::warm();
    workspace(&home, ["create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    sh(&home, "mkdir -p deep/down; for i in $(seq 2000); do echo > deep/down/file_$i; done");
    for _ in 0..3 {
        assert_eq!(sh(&home, "seq 10000 >&2; exit 1"), 1);
    }
    for max_chars in ["700", "2000"] {
        let asked = workspace(&home, ["summary", "w", "--json", "--max-chars", max_chars]);
        let summary = asked.output().succeeds().json();
        assert!(summary.to_string().chars().count() <= max_chars.parse().unwrap(), "{summary}");
        assert_eq!(summary["commands"]["failed"], 3, "counts stay: {summary}");
        assert_eq!(summary["files"]["added"], 2000, "{summary}");
        assert!(summary["notes"][0].as_str().unwrap().contains("files"), "{summary}");
    }
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
