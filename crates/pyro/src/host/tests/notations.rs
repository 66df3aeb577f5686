//! Every byte but those of the entry stays.

use super::*;

/// Asserts that the new text is the old one with something put in at one place.
#[track_caller]
fn assert_only_put_in(before: &str, after: &str) {
    let (old, new) = (before.as_bytes(), after.as_bytes());
    let ahead = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let behind = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    assert!(ahead + behind >= old.len(), "more changed than was put in:\n{before}\n---\n{after}");
}

#[test]
fn a_new_file_is_as_the_hosts_document_it() {
    for (name, expected) in [
        (
            HostName::ClaudeCode,
            r#"{
  "mcpServers": {
    "pyro": {
      "type": "stdio",
      "command": "/usr/bin/pyro",
      "args": ["mcp", "serve", "--profile", "workspace-core", "--allow-path", "/h/projects"]
    }
  }
}
"#,
        ),
        (
            HostName::ClaudeDesktop,
            r#"{
  "mcpServers": {
    "pyro": {
      "command": "/usr/bin/pyro",
      "args": ["mcp", "serve", "--profile", "workspace-core", "--allow-path", "/h/projects"],
      "env": {
        "XDG_RUNTIME_DIR": "/run/user/1"
      }
    }
  }
}
"#,
        ),
        (
            HostName::VsCode,
            r#"{
  "servers": {
    "pyro": {
      "type": "stdio",
      "command": "/usr/bin/pyro",
      "args": ["mcp", "serve", "--profile", "workspace-core", "--allow-path", "/h/projects"]
    }
  }
}
"#,
        ),
        (
            HostName::OpenCode,
            r#"{
  "mcp": {
    "pyro": {
      "type": "local",
      "command": ["/usr/bin/pyro", "mcp", "serve", "--profile", "workspace-core", "--allow-path", "/h/projects"],
      "enabled": true,
      "timeout": 300000
    }
  }
}
"#,
        ),
        (
            HostName::Codex,
            r#"[mcp_servers.pyro]
command = "/usr/bin/pyro"
args = ["mcp", "serve", "--profile", "workspace-core", "--allow-path", "/h/projects"]
env_vars = ["PYRO_HOME", "PYRO_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"]
startup_timeout_sec = 30
tool_timeout_sec = 300
"#,
        ),
    ] {
        for empty in ["", "\n", "  \n\n"] {
            assert_eq!(changed(connected(name, empty)).trim(), expected.trim(), "{name:?} {empty:?}");
        }
        assert_eq!(changed(connected(name, "")), expected, "{name:?}");
    }
    assert_eq!(
        changed(connected(HostName::Cursor, "")),
        changed(connected(HostName::ClaudeCode, "")),
        "Cursor has the form of Claude Code"
    );
}

#[test]
fn comments_and_commas_stay() {
    let vs_code = r#"// my servers
{
    /* secrets are asked for */
    "inputs": [{ "type": "promptString", "id": "key", "password": true, },],
    "servers": {
        "other": { "type": "http", "url": "https://example.com/mcp", }, // the one of the team
        // nothing more yet
    },
}
// the end
"#;
    let after = changed(connected(HostName::VsCode, vs_code));
    assert_only_put_in(vs_code, &after);
    assert!(after.contains("\n        \"pyro\": {\n            \"type\": \"stdio\","), "{after}");
    let open_code =
        "{\n\t\"$schema\": \"https://example.com/config.json\",\n\t// dark\n\t\"theme\": \"x\"\n}";
    let after = changed(connected(HostName::OpenCode, open_code));
    assert!(after.contains("\n\t\"mcp\": {\n\t\t\"pyro\": {\n\t\t\t\"type\""), "{after}");
    assert!(after.contains("\t// dark\n\t\"theme\": \"x\",\n"), "{after}");
    assert!(after.ends_with('}'), "the file ended without a newline: {after}");
    for only in ["// nothing\n", "/* nothing */", "{} // nothing"] {
        let after = changed(connected(HostName::Cursor, only));
        assert!(after.contains("nothing") && after.contains("\"pyro\""), "{after}");
    }
}

#[test]
fn comments_in_toml_stay() {
    let codex = r#"# Codex
model = "x"   # the good one

[mcp_servers.docs]    # read only
command = "npx"
args = [
  "-y",
  "docs", # newest
]

[mcp_servers.docs.env]
KEY = 'v'

# how projects are trusted
[projects."/h/a b"]
trust_level = "trusted"
when = 1979-05-27T07:32:00Z
# the end
"#;
    let after = changed(connected(HostName::Codex, codex));
    assert_only_put_in(codex, &after);
    assert!(after.contains("\n[mcp_servers.pyro]\n"), "{after}");
    for (text, part) in [
        ("mcp_servers = { a = { command = \"x\" } }\n", ", pyro = { command = "),
        ("mcp_servers.a.command = \"x\"\nmodel = \"y\"\n", "mcp_servers.pyro.command = "),
        ("[mcp_servers]\na = { command = \"x\" }\n\n[b]\n", "a = { command = \"x\" }\npyro = { command = "),
        ("[[list]]\na = 1\n[[list]]\na = 2\n", "[[list]]\na = 1\n[[list]]\na = 2\n"),
    ] {
        let after = changed(connected(HostName::Codex, text));
        assert!(after.contains(part), "{text}\n---\n{after}");
        assert_eq!(connected(HostName::Codex, &after), Ok(Outcome::Unchanged), "{after}");
    }
}

#[test]
fn line_ends_and_marks_stay() {
    let json = "\u{feff}{\r\n  \"a\": 1\r\n}\r\n";
    for name in [HostName::ClaudeCode, HostName::Cursor] {
        let after = changed(connected(name, json));
        assert!(after.starts_with("\u{feff}{\r\n  \"a\": 1,\r\n  \"mcpServers\": {\r\n"), "{after:?}");
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
        assert_eq!(connected(name, &after), Ok(Outcome::Unchanged));
    }
    let toml = "\u{feff}# a\r\nmodel = \"x\"\r\n\r\n[a]\r\nb = \"\"\"\r\nc\r\n\"\"\"\r\n";
    let after = changed(connected(HostName::Codex, toml));
    assert_only_put_in(toml, &after);
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
    let mixed = "a = 1\r\nb = 2\nc = 3\r\n[d]\ne = 4";
    let after = changed(connected(HostName::Codex, mixed));
    assert!(after.starts_with("a = 1\r\nb = 2\nc = 3\r\n[d]\ne = 4"), "{after:?}");
}

#[test]
fn a_file_in_one_line_says_the_same_afterwards() {
    let before =
        r#"{"numStartups":3,"projects":{"/p":{"history":["a"]}},"big":12345678901234567890,"f":1.10}"#;
    let after = changed(connected(HostName::ClaudeCode, before));
    for part in
        [r#""numStartups":3"#, r#""projects":{"/p":{"history":["a"]}}"#, "12345678901234567890", "1.10"]
    {
        assert!(after.contains(part), "{after}");
    }
}

#[test]
fn other_servers_of_a_long_configuration_stay() {
    let servers: String = (0..200)
        .map(|number| format!("    \"s{number}\": {{\"command\": \"c\", \"args\": [\"{number}\"]}},\n"))
        .collect();
    let before =
        format!("{{\n  \"mcpServers\": {{\n{}\n  }}\n}}\n", servers.trim_end().trim_end_matches(','));
    let after = changed(connected(HostName::ClaudeDesktop, &before));
    for line in servers.lines() {
        assert!(after.contains(line.trim_end_matches(',')), "{line}");
    }
}
