//! `pyro host`: configurations of chat hosts, written as a user has them written, and servers started as they say.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use pyro_e2e::{Home, Invocation, Outcome, Settings};
use serde_json::Value;

/// Every host, where a user's configuration of it is below the home directory.
const HOSTS: &[(&str, &str)] = &[
    ("claude-code", ".claude.json"),
    ("codex", ".codex/config.toml"),
    ("opencode", ".config/opencode/opencode.json"),
    ("cursor", ".cursor/mcp.json"),
    ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
    ("vscode", ".config/Code/User/mcp.json"),
];

/// The home directory of the test's user.
fn user(home: &Home) -> PathBuf {
    home.scratch().join("user")
}

/// `pyro host WORDS` in a directory of the user's.
fn host(home: &Home, words: &[&str]) -> Invocation {
    home.pyro(["host"].iter().chain(words)).directory(user(home))
}

/// Connects a host, with a directory that the tools may name.
#[track_caller]
fn connect(home: &Home, name: &str, flags: &[&str]) -> Value {
    let user = user(home);
    let allow = ["connect", name, "--yes", "--json", "--allow-path", user.to_str().unwrap()];
    host(home, &[&allow, flags].concat()).output().succeeds().json()
}

/// The codes of what is wrong with the user's entry of a host.
#[track_caller]
fn faults(outcome: &Outcome) -> Vec<String> {
    faults_in(outcome, 0)
}

/// The same of one of its configurations; the user's comes first, then the project's.
#[track_caller]
fn faults_in(outcome: &Outcome, configuration: usize) -> Vec<String> {
    assert_eq!(outcome.code(), 1, "{outcome}");
    let report = outcome.json();
    assert_eq!(report["ok"], false, "{outcome}");
    let problems =
        report["hosts"][0]["configurations"][configuration]["problems"].as_array().unwrap().clone();
    problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

fn replace_in(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(file, text.replace(old, new)).unwrap();
}

/// The program that the configurations of this test start.
fn program() -> String {
    Settings::get().pyro.canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn every_host_starts_what_was_written_for_it() {
    let home = Home::bare();
    for (name, file) in HOSTS {
        let before = host(&home, &["doctor", name, "--json"]).output().exits(1).json();
        assert_eq!(before["hosts"][0]["connected"], false, "{before}");
        let made = connect(&home, name, &["--profile", "vm-run"]);
        let path = user(&home).join(file);
        assert_eq!(
            (&made["changed"], &made["file"]),
            (&true.into(), &path.to_str().unwrap().into()),
            "{made}"
        );
        assert!(made["diff"].as_str().unwrap().contains("+++ b/"), "{made}");
        let report = host(&home, &["doctor", name, "--json"]).output().succeeds().json();
        let found = &report["hosts"][0];
        assert_eq!((&found["connected"], &found["installed"]), (&true.into(), &true.into()), "{report}");
        let one = &found["configurations"][0];
        assert_eq!((&one["profile"], &one["program"]), (&"vm-run".into(), &program().into()), "{report}");
        assert_eq!(
            (&one["server"]["name"], &one["server"]["tools"]),
            (&"pyro_mcp".into(), &1.into()),
            "{report}"
        );
        let text = fs::read_to_string(&path).unwrap();
        let again = host(&home, &["connect", name, "--json"]).output().succeeds().json();
        assert_eq!((&again["changed"], &again["diff"]), (&false.into(), &"".into()), "{again}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        host(&home, &["doctor", name, "--profile", "workspace-core", "--json"]).output().exits(1);
    }
    let list = host(&home, &["--json"]).output().succeeds().json();
    let connected =
        list["hosts"].as_array().unwrap().iter().filter(|host| host["connected"] != Value::Array(Vec::new()));
    assert_eq!(connected.count(), HOSTS.len(), "{list}");
    host(&home, &["doctor"]).output().succeeds();
    assert!(home.daemon().is_none(), "greeting a server needs no daemon");
}

#[test]
fn a_projects_configuration_is_in_the_project() {
    let home = Home::bare();
    for (name, file) in [
        ("claude-code", ".mcp.json"),
        ("codex", ".codex/config.toml"),
        ("opencode", "opencode.json"),
        ("cursor", ".cursor/mcp.json"),
        ("vscode", ".vscode/mcp.json"),
    ] {
        let project = home.scratch().join(format!("project of {name}"));
        fs::create_dir(&project).unwrap();
        let host = |words: &[&str]| home.pyro(["host"].iter().chain(words)).directory(&project);
        host(&["connect", name, "--project", "--yes"]).output().succeeds();
        assert!(project.join(file).is_file(), "{name}");
        let report = host(&["doctor", name, "--json"]).output().succeeds().json();
        let configurations = report["hosts"][0]["configurations"].as_array().unwrap();
        let one = configurations.iter().find(|one| one["scope"] == "project").unwrap();
        assert!(one["server"]["tools"].as_u64().unwrap() > 10, "{report}");
    }
    let refused =
        host(&home, &["connect", "claude-desktop", "--project", "--yes", "--json"]).output().exits(2);
    assert_eq!(refused.json()["code"], "usage", "{refused}");
    let refused = host(&home, &["connect", "claude-desktop", "--yes", "--json"]).output().exits(2);
    assert!(refused.json()["hint"].as_str().unwrap().contains("--allow-path"), "{refused}");
}

#[test]
fn a_program_that_moved_is_found_and_mended() {
    let home = Home::bare();
    for (name, file) in HOSTS {
        connect(&home, name, &[]);
        let path = user(&home).join(file);
        replace_in(&path, &format!("\"{}\"", program()), "\"/nowhere/pyro\"");
        assert_eq!(faults(&host(&home, &["doctor", name, "--json"]).output()), ["program_missing"], "{name}");
        let refused = host(&home, &["connect", name, "--yes", "--json"]).output().exits(1);
        assert_eq!(refused.json()["code"], "already_exists", "{refused}");
        let broken = fs::read_to_string(&path).unwrap();
        let mended = host(&home, &["repair", name, "--yes", "--json"]).output().succeeds().json();
        let backup = mended["changes"][0]["backup"].as_str().unwrap();
        assert_eq!(fs::read_to_string(backup).unwrap(), broken);
        host(&home, &["doctor", name]).output().succeeds();
    }
}

#[test]
fn what_is_said_to_repair_is_for_one_scope() {
    let home = Home::bare();
    let project = home.scratch().join("project");
    fs::create_dir(&project).unwrap();
    connect(&home, "cursor", &[]);
    let host = |words: &[&str]| home.pyro(["host"].iter().chain(words)).directory(&project);
    host(&["connect", "cursor", "--project", "--yes"]).output().succeeds();
    let mended =
        host(&["repair", "cursor", "--profile", "vm-run", "--yes", "--json"]).output().succeeds().json();
    let changed = |index: usize| mended["changes"][index]["changed"].as_bool().unwrap();
    assert_eq!((changed(0), changed(1)), (true, false), "{mended}");
}

#[test]
fn a_server_that_does_not_answer_is_told_with_what_it_said() {
    let home = Home::bare();
    connect(&home, "cursor", &[]);
    let path = user(&home).join(".cursor/mcp.json");
    let allowed = user(&home);
    replace_in(&path, allowed.to_str().unwrap(), "/nowhere/at/all");
    let outcome = host(&home, &["doctor", "cursor", "--json"]).output();
    assert_eq!(faults(&outcome), ["no_answer"]);
    assert!(outcome.text().contains("/nowhere/at/all"), "{outcome}");
    let mute = home.scratch().join("mute");
    fs::write(&mute, "#!/bin/sh\nwhile read -r line; do :; done\n").unwrap();
    fs::set_permissions(&mute, fs::Permissions::from_mode(0o755)).unwrap();
    replace_in(&path, &program(), mute.to_str().unwrap());
    let outcome = host(&home, &["doctor", "cursor", "--json", "--timeout-seconds", "1"]).output();
    assert_eq!(faults(&outcome), ["other_program", "no_answer"]);
    assert!(outcome.text().contains("in time"), "{outcome}");
    host(&home, &["repair", "cursor", "--yes", "--allow-path", allowed.to_str().unwrap()])
        .output()
        .succeeds();
    host(&home, &["doctor", "cursor"]).output().succeeds();
}

#[test]
fn what_a_project_names_is_not_started() {
    let home = Home::bare();
    let (trap, sprung) = (home.scratch().join("trap"), home.scratch().join("sprung"));
    fs::write(&trap, format!("#!/bin/sh\n: > {}\n", sprung.display())).unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    let file = user(&home).join(".mcp.json");
    let entry = |program: &str, environment: &str| {
        format!(
            r#"{{"mcpServers": {{"pyro": {{"command": "{program}", "args": ["mcp", "serve"], "env": {environment}}}}}}}"#
        )
    };
    let doctor = || host(&home, &["doctor", "claude-code", "--json"]).output();
    fs::write(&file, entry(trap.to_str().unwrap(), "{}")).unwrap();
    assert_eq!(faults_in(&doctor(), 1), ["other_program"]);
    assert!(!sprung.exists(), "a program of the project was started");
    // Nor this program with variables that could make another one of it.
    fs::write(&file, entry(&program(), r#"{"LD_PRELOAD": "./trap.so"}"#)).unwrap();
    assert_eq!(doctor().json()["hosts"][0]["configurations"][1]["server"], Value::Null);
    fs::write(&file, entry(&program(), "{}")).unwrap();
    assert_eq!(doctor().json()["hosts"][0]["configurations"][1]["server"]["tools"], 16);
}

#[test]
fn a_server_that_never_stops_talking_is_not_listened_to_for_ever() {
    let home = Home::bare();
    connect(&home, "cursor", &[]);
    let talker = home.scratch().join("talker");
    fs::write(&talker, "#!/bin/sh\nwhile echo '{\"jsonrpc\":\"2.0\",\"method\":\"x\"}'; do :; done\n")
        .unwrap();
    fs::set_permissions(&talker, fs::Permissions::from_mode(0o755)).unwrap();
    replace_in(&user(&home).join(".cursor/mcp.json"), &program(), talker.to_str().unwrap());
    let outcome = host(&home, &["doctor", "cursor", "--json", "--timeout-seconds", "1"]).output();
    assert_eq!(faults(&outcome), ["other_program", "no_answer"]);
    assert!(outcome.text().contains("in time"), "{outcome}");
}

#[test]
fn a_host_that_filters_its_environment_is_told_what_to_hand_on() {
    let home = Home::bare();
    let file = user(&home).join(".codex/config.toml");
    fs::create_dir(file.parent().unwrap()).unwrap();
    // As people write it by hand. This home's PYRO_HOME would not reach the server.
    let text = format!("[mcp_servers.pyro]\ncommand = \"{}\"\nargs = [\"mcp\", \"serve\"]\n", program());
    fs::write(&file, &text).unwrap();
    assert_eq!(faults(&host(&home, &["doctor", "codex", "--json"]).output()), ["other_store"]);
    host(&home, &["repair", "codex", "--yes"]).output().succeeds();
    let mended = fs::read_to_string(&file).unwrap();
    assert!(mended.starts_with(&text) && mended.contains("\"PYRO_HOME\""), "{mended}");
    host(&home, &["doctor", "codex"]).output().succeeds();
}

#[test]
fn nothing_is_written_that_nobody_agreed_to() {
    let home = Home::bare();
    let file = user(&home).join(".claude.json");
    let before = "{\n  \"numStartups\": 7,\n  \"projects\": {}\n}\n";
    fs::write(&file, before).unwrap();
    let unchanged = || {
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
        let left = fs::read_dir(user(&home)).unwrap().count();
        assert_eq!(left, 1, "a file is left");
    };
    let refused = host(&home, &["connect", "claude-code"]).output().exits(2).complains("--yes");
    assert!(refused.text().contains("+  \"mcpServers\": {"), "{refused}");
    unchanged();
    host(&home, &["connect", "claude-code", "--json"]).output().exits(2);
    unchanged();
    let shown = host(&home, &["connect", "claude-code", "--dry-run", "--json"]).output().succeeds().json();
    assert_eq!(shown["changed"], false, "{shown}");
    assert!(
        shown["diff"].as_str().unwrap().contains("-  \"projects\": {}\n+  \"projects\": {},\n"),
        "{shown}"
    );
    unchanged();
    let asked = |answer: &str| {
        let terminal = ["sh", "-c", "exec script -qefc \"$*\" /dev/null", "sh"];
        host(&home, &["connect", "claude-code"]).under(terminal).stdin(format!("{answer}\n")).output()
    };
    let declined = asked("n");
    assert!(declined.text().contains("[y/N]"), "{declined}");
    assert_eq!(declined.code(), 130, "{declined}");
    unchanged();
    let agreed = asked("y");
    assert_eq!(agreed.code(), 0, "{agreed}");
    let after: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((&after["numStartups"], &after["mcpServers"]["pyro"]["type"]), (&7.into(), &"stdio".into()));
    let backup = user(&home).join(".claude.json.pyro-backup");
    assert_eq!(fs::read_to_string(backup).unwrap(), before);
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    let home = Home::bare();
    let file = user(&home).join(".cursor/mcp.json");
    fs::create_dir(file.parent().unwrap()).unwrap();
    for text in ["{\"mcpServers\": {", "{\"mcpServers\": {}, \"mcpServers\": {}}", "[]"] {
        fs::write(&file, text).unwrap();
        for verb in ["connect", "repair"] {
            let refused =
                host(&home, &[verb, "cursor", "--yes", "--json", "--allow-path", "/"]).output().exits(1);
            assert_eq!(refused.json()["code"], "invalid_request", "{refused}");
        }
        assert_eq!(faults(&host(&home, &["doctor", "cursor", "--json"]).output()), ["unusable"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "a file is left");
}
