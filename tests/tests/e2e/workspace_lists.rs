//! Finding workspaces, changing what they are known by, and how many there may be.

use std::fs;

use pyro_e2e::{ENVIRONMENT, Home, Invocation};
use serde_json::Value;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn create(home: &Home, name: &str) -> Invocation {
    workspace(
        home,
        ["create", ENVIRONMENT, "--json", "--label", "both=1", "--label", "team=red", "--name", name],
    )
}

fn list(home: &Home, words: &[&str]) -> Value {
    home.pyro(["workspace", "list", "--json"].iter().chain(words)).output().succeeds().json()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["workspaces"].as_array().unwrap();
    assert_eq!(list["count"], items.len(), "{list}");
    items.iter().map(|item| item["name"].as_str().unwrap_or("-")).collect()
}

#[test]
fn limits_come_from_the_file_unless_the_environment_says_otherwise() {
    let home = Home::warm();
    fs::create_dir_all(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), "[limits]\nmax_workspaces = 1\ndisk_budget_mib = 4096\n")
        .unwrap();
    let shown =
        home.pyro(["config", "show", "--json"]).env("PYRO_DISK_BUDGET_MIB", "1").output().succeeds().json();
    let setting = |variable: &str| {
        let all = shown["settings"].as_array().unwrap();
        let setting = all.iter().find(|setting| setting["variable"] == variable).unwrap();
        (setting["value"].as_str(), setting["source"].as_str().unwrap())
    };
    assert_eq!(setting("PYRO_MAX_WORKSPACES"), (Some("1"), "file"));
    assert_eq!(setting("PYRO_DISK_BUDGET_MIB"), (Some("1"), "environment"));
    assert_eq!(setting("PYRO_MEMORY_BUDGET_MIB").1, "default");

    create(&home, "only").output().succeeds();
    let refusal = |create: Invocation| {
        create.output().fails_with("limit_reached")["error"].as_str().unwrap().to_owned()
    };
    let too_many = refusal(create(&home, "second"));
    assert!(too_many.contains("max_workspaces") && too_many.contains("at most 1"), "{too_many}");
    workspace(&home, ["exec", "only", "-n", "--", "sh", "-c", "head -c 4000000 /dev/urandom > f; sync"])
        .output()
        .succeeds();
    workspace(&home, ["snapshot", "create", "only", "kept"]).output().succeeds();
    // Settings are the daemon's: the next one has others. The machine goes on in between.
    home.stop_daemon();
    let too_much = create(&home, "second").env("PYRO_MAX_WORKSPACES", "2").env("PYRO_DISK_BUDGET_MIB", "1");
    let too_much = refusal(too_much);
    assert!(too_much.contains("disk_budget_mib") && too_much.contains("budget is 1 MiB"), "{too_much}");
    let too_large = refusal(workspace(&home, ["snapshot", "create", "only", "more", "--json"]));
    assert!(too_large.contains("budget is 1 MiB; the largest snapshot of"), "{too_large}");
    assert!(too_large.contains("`kept`"), "{too_large}");
    assert_eq!(names(&list(&home, &["--state", "started"])), ["only"], "what is there stays");
    workspace(&home, ["delete", "only"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn workspaces_are_found_by_state_and_page_and_can_lose_their_name() {
    let home = Home::warm();
    for name in ["a", "b"] {
        create(&home, name).output().succeeds();
    }
    workspace(&home, ["stop", "b"]).output().succeeds();
    assert_eq!(names(&list(&home, &[])), ["b", "a"], "last used first");
    assert_eq!(names(&list(&home, &["--state", "started"])), ["a"]);
    assert_eq!(names(&list(&home, &["--state", "stopped"])), ["b"]);
    assert_eq!(names(&list(&home, &["--state", "created"])), [] as [&str; 0]);
    workspace(&home, ["list", "--state", "paused", "--json"]).output().exits(2).fails_with("usage");
    workspace(&home, ["list", "--limit", "0", "--json"]).output().fails_with("invalid_size");
    workspace(&home, ["list", "--cursor", "none that was given out", "--json"])
        .output()
        .fails_with("invalid_request");

    let update = |words: &[&str]| home.pyro(["workspace", "update"].iter().chain(words)).json().output();
    let cleared =
        update(&["a", "--label", "owner=me", "--clear-label", "team", "--clear-label", "never-there"]);
    assert_eq!(cleared.succeeds().json()["labels"], serde_json::json!({"both": "1", "owner": "me"}));
    update(&["a", "--clear-label", "never-there"]).fails_with("invalid_request");
    update(&["a", "--name", "c", "--clear-name"]).exits(2).fails_with("usage");
    // The lifetime that it has already, given again, begins anew.
    let before = workspace(&home, ["status", "a", "--json"]).output().succeeds().json();
    let after = update(&["a", "--ttl-seconds", "600"]).succeeds().json();
    assert!(after["expires_at"].as_f64() > before["expires_at"].as_f64(), "{before} {after}");
    let nameless = update(&["a", "--clear-name"]).succeeds().json();
    assert_eq!((&nameless["name"], &nameless["state"]), (&Value::Null, &"started".into()), "{nameless}");
    update(&["a", "--name", "x"]).fails_with("unknown_workspace");
    let id = nameless["workspace_id"].as_str().unwrap();

    // Page by page each comes once, also when what the first page showed is deleted meanwhile.
    let first = list(&home, &["--limit", "1", "--label", "both=1"]);
    assert_eq!(names(&first), ["-"], "{first}");
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&home, &["--limit", "1", "--label", "both=1", "--cursor", cursor]);
    assert_eq!((names(&second), &second["next_cursor"]), (vec!["b"], &Value::Null), "{second}");
    workspace(&home, ["delete", id]).output().succeeds();
    assert_eq!(names(&list(&home, &["--limit", "1", "--cursor", cursor])), ["b"]);
    workspace(&home, ["delete", "b"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
