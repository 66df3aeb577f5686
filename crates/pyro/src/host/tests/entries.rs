//! What becomes of entries.

use clap::ValueEnum as _;
use serde_json::Value;

use super::*;
use crate::{
    host::{
        problem::{Fault, ProgramState, examine},
        serve_options::ServeOptions,
    },
    mcp::Profile,
};

fn faults(name: HostName, text: &str) -> Vec<Fault> {
    let host = name.host();
    let document = host.read(text).unwrap();
    let entry = host.entry(&document, &location(host, Scope::User), "pyro").unwrap().unwrap();
    let state = |word: &str| if same(word) { ProgramState::This } else { ProgramState::Missing };
    examine(&entry.found, None, state).into_iter().map(|problem| problem.code).collect()
}

#[test]
fn connecting_twice_changes_nothing() {
    for name in HostName::all() {
        let host = name.host();
        for location in host.locations(&places()) {
            let once = changed(connect(host, &location, "", &wish(), false, same));
            let twice = connect(host, &location, &once, &wish(), false, same);
            assert_eq!(twice, Ok(Outcome::Unchanged), "{name:?} {:?}", location.scope);
            assert_eq!(mend(host, &location, &once, &wish(), same), Ok(Outcome::Unchanged), "{name:?}");
        }
    }
}

#[test]
fn what_was_not_said_stays_as_it_is() {
    for name in HostName::all() {
        let host = name.host();
        let location = location(host, Scope::User);
        let small = Wish { profile: Some(Profile::VmRun), ..wish() };
        let text = changed(connect(host, &location, "", &small, false, same));
        let nothing_said = Wish { allow_paths: Vec::new(), ..wish() };
        assert_eq!(connect(host, &location, &text, &nothing_said, false, same), Ok(Outcome::Unchanged));
        let more = Wish { profile: Some(Profile::WorkspaceFull), ..nothing_said };
        let refused = connect(host, &location, &text, &more, false, same).unwrap_err();
        assert!(matches!(refused, Refused::Differs { .. }), "{name:?}: {refused}");
        let forced = changed(connect(host, &location, &text, &more, true, same));
        assert!(forced.contains("workspace-full") && forced.contains("/h/projects"), "{forced}");
        assert!(!forced.contains("vm-run"), "{forced}");
    }
}

#[test]
fn a_program_that_moved_is_mended_and_nothing_else_is() {
    for (name, before, after) in [
        (
            HostName::Cursor,
            "{\"mcpServers\": {\"pyro\": {\n  \"command\": \"/old/pyro\", // mine\n  \"args\": [\"mcp\", \"serve\"],\n  \"env\": {\"PYRO_LOG\": \"debug\"},\n}}}",
            "{\"mcpServers\": {\"pyro\": {\n  \"command\": \"/usr/bin/pyro\", // mine\n  \"args\": [\"mcp\", \"serve\"],\n  \"env\": {\"PYRO_LOG\": \"debug\"},\n}}}",
        ),
        (
            HostName::Codex,
            "[mcp_servers.pyro]\ncommand = \"/old/pyro\"  # mine\nargs = [ 'mcp', 'serve' ]\nenv_vars = [\"PYRO_HOME\", \"PYRO_CONFIG\", \"XDG_CONFIG_HOME\", \"XDG_DATA_HOME\", \"XDG_CACHE_HOME\", \"XDG_RUNTIME_DIR\"]\nstartup_timeout_sec = 5\n\n[mcp_servers.pyro.env]\nA = \"b\"\n",
            "[mcp_servers.pyro]\ncommand = \"/usr/bin/pyro\"  # mine\nargs = [ 'mcp', 'serve' ]\nenv_vars = [\"PYRO_HOME\", \"PYRO_CONFIG\", \"XDG_CONFIG_HOME\", \"XDG_DATA_HOME\", \"XDG_CACHE_HOME\", \"XDG_RUNTIME_DIR\"]\nstartup_timeout_sec = 5\n\n[mcp_servers.pyro.env]\nA = \"b\"\n",
        ),
    ] {
        assert_eq!(faults(name, before), [Fault::ProgramMissing]);
        assert_eq!(changed(mended(name, before)), after);
        assert_eq!(faults(name, after), []);
    }
}

#[test]
fn what_is_wrong_is_found_and_mended() {
    for (name, entry, fault) in [
        (
            HostName::ClaudeCode,
            r#"{"command": "/old/pyro", "args": ["mcp", "serve"]}"#,
            Fault::ProgramMissing,
        ),
        (HostName::ClaudeCode, r#"{"command": "pyro", "args": ["mcp", "server"]}"#, Fault::WrongArguments),
        (HostName::ClaudeCode, r#"{"command": "pyro"}"#, Fault::WrongArguments),
        (
            HostName::ClaudeCode,
            r#"{"command": "pyro", "args": ["workspace", "list"]}"#,
            Fault::WrongArguments,
        ),
        (
            HostName::ClaudeCode,
            r#"{"command": "pyro", "args": ["mcp", "serve", "--profile", "all"]}"#,
            Fault::WrongArguments,
        ),
        (
            HostName::ClaudeCode,
            r#"{"command": "pyro", "args": ["mcp", "serve", "--http", "1"]}"#,
            Fault::WrongArguments,
        ),
        (
            HostName::VsCode,
            r#"{"type": "sse", "command": "pyro", "args": ["mcp", "serve"]}"#,
            Fault::WrongType,
        ),
        (
            HostName::VsCode,
            r#"{"type": "http", "url": "http://localhost:1/mcp", "headers": {}}"#,
            Fault::WrongType,
        ),
        (HostName::Cursor, r#"{"command": ["pyro", "mcp", "serve"]}"#, Fault::NoCommand),
        (HostName::Cursor, r#"{"command": "pyro", "args": "mcp serve"}"#, Fault::NoCommand),
        (
            HostName::Cursor,
            r#"{"command": "pyro", "args": ["mcp", "serve"], "disabled": true}"#,
            Fault::Disabled,
        ),
        (HostName::OpenCode, r#"{"command": ["pyro", "mcp", "serve"], "enabled": true}"#, Fault::WrongType),
        (
            HostName::OpenCode,
            r#"{"type": "local", "command": ["pyro", "mcp", "serve"], "enabled": false}"#,
            Fault::Disabled,
        ),
        (HostName::OpenCode, r#"{"type": "local", "command": "pyro mcp serve"}"#, Fault::NoCommand),
        (HostName::OpenCode, r#"{"type": "remote", "url": "http://localhost:1/mcp"}"#, Fault::WrongType),
    ] {
        let key = match name {
            HostName::VsCode => "servers",
            HostName::OpenCode => "mcp",
            _ => "mcpServers",
        };
        let text = format!("{{\"{key}\": {{\"pyro\": {entry}}}}}");
        assert!(faults(name, &text).contains(&fault), "{entry}: {:?}", faults(name, &text));
        // A place without a project needs a directory to be said if the old arguments say none.
        let host = name.host();
        let mended = changed(mend(host, &location(host, Scope::User), &text, &wish(), same));
        assert_eq!(faults(name, &mended), [], "{mended}");
        assert!(!mended.contains("url") && !mended.contains("headers"), "{mended}");
    }
    let codex = "[mcp_servers.pyro]\nurl = \"http://localhost:1/mcp\"\nbearer_token_env_var = \"T\"\nenabled = false\n";
    assert_eq!(faults(HostName::Codex, codex), [Fault::WrongType, Fault::Disabled, Fault::NoCommand]);
    let mended = changed(mended(HostName::Codex, codex));
    assert_eq!(faults(HostName::Codex, &mended), [], "{mended}");
    assert!(!mended.contains("url") && !mended.contains("bearer"), "{mended}");
}

#[test]
fn options_that_are_not_ours_to_say_stay() {
    let text = r#"{"mcpServers": {"pyro": {"command": "/old/pyro", "args": ["mcp", "serve", "--results=text", "--answer-within", "20", "--abandon-after", "300", "--profile", "vm-run"], "env": {}}}}"#;
    let host = HostName::ClaudeCode.host();
    let wish = Wish { profile: Some(Profile::WorkspaceFull), ..wish() };
    let mended = changed(mend(host, &location(host, Scope::User), text, &wish, same));
    let words = "\"mcp\", \"serve\", \"--profile\", \"workspace-full\", \"--allow-path\", \"/h/projects\", \
                 \"--results\", \"text\", \"--answer-within\", \"20\", \"--abandon-after\", \"300\"";
    assert!(mended.contains(words), "{mended}");
    assert!(mended.contains("\"env\": {}"), "{mended}");
}

#[test]
fn both_forms_of_open_code_are_understood() {
    let native = "{\n  \"mcp\": {\n    \"timeout\": {\"startup\": 1},\n    \"servers\": {\n      \"a\": {\"type\": \"local\", \"command\": [\"a\"]}\n    }\n  }\n}\n";
    let after = changed(connected(HostName::OpenCode, native));
    let value: Value = serde_json::from_str(&after).unwrap();
    assert_eq!(value["mcp"]["servers"]["pyro"]["command"][0], PYRO);
    assert_eq!(value["mcp"]["servers"]["pyro"].get("enabled"), None, "the new form knows no `enabled`");
    let off = after.replace("\"pyro\": {", "\"pyro\": {\n        \"disabled\": true,");
    assert_eq!(faults(HostName::OpenCode, &off), [Fault::Disabled]);
    let on: Value = serde_json::from_str(&changed(mended(HostName::OpenCode, &off))).unwrap();
    assert_eq!(on, value);
    // An entry of the old form stays one; a server may even be called `servers`.
    let old =
        r#"{"mcp": {"servers": {}, "pyro": {"type": "local", "command": ["/old/pyro", "mcp", "serve"]}}}"#;
    let value: Value = serde_json::from_str(&changed(mended(HostName::OpenCode, old))).unwrap();
    assert_eq!(value["mcp"]["pyro"]["command"][0], PYRO);
    assert_eq!(value["mcp"]["servers"], serde_json::json!({}));
    let odd = r#"{"mcp": {"servers": {"type": "local", "command": ["x"]}}}"#;
    let value: Value = serde_json::from_str(&changed(connected(HostName::OpenCode, odd))).unwrap();
    assert_eq!(value["mcp"]["pyro"]["enabled"], true);
}

#[test]
fn a_host_that_filters_is_told_which_variables_matter() {
    let host = HostName::Codex.host();
    let entry = "[mcp_servers.pyro]\ncommand = \"pyro\"\nargs = [\"mcp\", \"serve\"]\nenv_vars = [\"A\", { name = \"B\", source = \"remote\" }]\n";
    let wish = Wish { environment: [("PYRO_QEMU".to_owned(), "/q".to_owned())].into(), ..wish() };
    let after = changed(mend(host, &location(host, Scope::User), entry, &wish, same));
    assert!(after.contains("\"A\", { name = \"B\", source = \"remote\" }"), "{after}");
    assert!(after.contains("\"XDG_RUNTIME_DIR\"") && after.contains("\"PYRO_QEMU\""), "{after}");
    assert!(!after.contains("/q"), "values are the host's own: {after}");
    let desktop =
        r#"{"mcpServers": {"pyro": {"command": "pyro", "args": ["mcp", "serve"], "env": {"A": "1"}}}}"#;
    let value: Value = serde_json::from_str(&changed(mended(HostName::ClaudeDesktop, desktop))).unwrap();
    let env = &value["mcpServers"]["pyro"]["env"];
    assert_eq!((&env["A"], &env["XDG_RUNTIME_DIR"]), (&"1".into(), &"/run/user/1".into()));
}

#[test]
fn directories_are_allowed_as_the_host_starts_servers() {
    let say_none = Wish { allow_paths: Vec::new(), ..wish() };
    for name in HostName::all() {
        let host = name.host();
        for location in host.locations(&places()) {
            let made = connect(host, &location, "", &say_none, false, same);
            let project = location.scope == Scope::Project;
            match name {
                HostName::ClaudeCode | HostName::Codex | HostName::OpenCode => {
                    assert!(!changed(made).contains("allow-path"), "{name:?}");
                }
                HostName::Cursor | HostName::VsCode if project => {
                    assert!(changed(made).contains("\"--allow-path\", \"${workspaceFolder}\""), "{name:?}");
                }
                _ => assert_eq!(made, Err(Refused::NothingAllowed), "{name:?}"),
            }
        }
    }
}

#[test]
fn a_users_part_for_one_project_is_found() {
    let host = HostName::ClaudeCode.host();
    let local = location(host, Scope::Local);
    let text = r#"{"projects": {"/p": {"mcpServers": {"pyro": {"command": "/old", "args": []}}}}}"#;
    let document = host.read(text).unwrap();
    assert!(host.entry(&document, &local, "pyro").unwrap().is_some());
    assert!(host.entry(&document, &location(host, Scope::User), "pyro").unwrap().is_none());
}

#[test]
fn variables_of_hosts_move_their_places() {
    let environment = |name: &str| match name {
        "HOME" => Some("/h".into()),
        "CODEX_HOME" => Some("/c".into()),
        "CLAUDE_CONFIG_DIR" => Some("/cc".into()),
        "XDG_CONFIG_HOME" => Some("/x".into()),
        _ => None,
    };
    let moved = Places::new(environment, Path::new("/p")).unwrap();
    let file =
        |name: HostName, places: &Places| name.host().locations(places)[0].files[0].display().to_string();
    for (name, usual, other) in [
        (HostName::ClaudeCode, "/h/.claude.json", "/cc/.claude.json"),
        (HostName::Codex, "/h/.codex/config.toml", "/c/config.toml"),
        (HostName::OpenCode, "/h/.config/opencode/opencode.jsonc", "/x/opencode/opencode.jsonc"),
        (HostName::Cursor, "/h/.cursor/mcp.json", "/h/.cursor/mcp.json"),
        (
            HostName::ClaudeDesktop,
            "/h/.config/Claude/claude_desktop_config.json",
            "/x/Claude/claude_desktop_config.json",
        ),
        (HostName::VsCode, "/h/.config/Code/User/mcp.json", "/x/Code/User/mcp.json"),
    ] {
        assert_eq!((file(name, &places()).as_str(), file(name, &moved).as_str()), (usual, other));
    }
    assert!(Places::new(|_| None, Path::new("/p")).is_err(), "without a home there is no place");
}

#[test]
fn one_file_is_one_configuration() {
    let home = |name: &str| (name == "HOME").then(|| "/h".into());
    let at_home = Places::new(home, Path::new("/h")).unwrap();
    for (name, in_project, at_home_only) in [
        (HostName::Cursor, 2, 1),
        (HostName::Codex, 2, 1),
        (HostName::VsCode, 2, 2),
        (HostName::ClaudeCode, 3, 3),
    ] {
        let count = |places: &Places| name.host().distinct_locations(places).len();
        assert_eq!((count(&places()), count(&at_home)), (in_project, at_home_only), "{name:?}");
    }
}

#[test]
fn options_are_read_as_they_are_written() {
    for profile in Profile::value_variants() {
        let mut options = ServeOptions::allowing(vec!["/a b".to_owned(), "${workspaceFolder}".to_owned()]);
        options.profile = *profile;
        assert_eq!(ServeOptions::parse(&options.words()), Ok(options));
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (line, part) in [
        ("mcp serve --bogus", "--bogus"),
        ("workspace list", "mcp serve"),
        ("mcp serve --http 1", "--http"),
        ("--version", "mcp serve"),
    ] {
        let told = ServeOptions::parse(&words(line)).unwrap_err();
        assert!(told.contains(part), "{line}: {told}");
    }
}
