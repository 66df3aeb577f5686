//! What cannot be changed safely is left alone, and said why.

use super::*;
use crate::host::Unusable;

#[track_caller]
fn refused(name: HostName, text: &str) -> String {
    let refused = connected(name, text).unwrap_err();
    assert!(matches!(refused, Refused::Unusable(_)), "{refused:?}");
    refused.to_string()
}

#[test]
fn what_is_malformed_is_refused_with_its_place() {
    for (name, text, part) in [
        (HostName::ClaudeCode, "{", "JSON"),
        (HostName::ClaudeCode, "{\"a\": 1} {\"b\": 2}", "JSON"),
        (HostName::ClaudeCode, "{\n  // a comment\n}", "JSON"),
        (HostName::ClaudeDesktop, "{\"mcpServers\": {},}", "JSON"),
        (HostName::Cursor, "{'a': 1}", "JSON"),
        (HostName::Cursor, "{a: 1}", "JSON"),
        (HostName::VsCode, "{\"servers\": {\"a\": {} \"b\": {}}}", "JSON"),
        (HostName::Codex, "[mcp_servers", "line 1"),
        (HostName::Codex, "a = 1\na = 2\n", "line 2"),
        (HostName::Codex, "[mcp_servers.pyro]\n[mcp_servers.pyro]\n", "line 2"),
        (HostName::Codex, "{\"mcp_servers\": {}}", "TOML"),
    ] {
        let told = refused(name, text);
        assert!(told.contains(part), "{text}: {told}");
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    for (name, text, place) in [
        (HostName::Cursor, r#"{"mcpServers": {}, "a": 1, "mcpServers": {}}"#, "`mcpServers`"),
        (HostName::Cursor, r#"{"mcpServers": {"pyro": {}, "pyro": {}}}"#, "`mcpServers.pyro`"),
        (HostName::Cursor, r#"{"mcpServers": {"pyro": {}, "pyr\u006f": {}}}"#, "`mcpServers.pyro`"),
        (
            HostName::Cursor,
            r#"{"mcpServers": {"pyro": {"command": "a", "command": "b"}}}"#,
            "`mcpServers.pyro.command`",
        ),
    ] {
        let told = refused(name, text);
        assert!(told.contains(place) && told.contains("twice"), "{text}: {told}");
    }
    // What is not on the way is nobody's business here.
    changed(connected(HostName::Cursor, r#"{"a": {"b": 1, "b": 2}, "mcpServers": {"x": {}, "x": {}}}"#));
}

#[test]
fn what_is_of_another_kind_is_refused() {
    for (name, text) in [
        (HostName::ClaudeCode, "[]"),
        (HostName::ClaudeCode, "null"),
        (HostName::ClaudeCode, "\"text\""),
        (HostName::ClaudeCode, r#"{"mcpServers": []}"#),
        (HostName::ClaudeCode, r#"{"mcpServers": null}"#),
        (HostName::ClaudeCode, r#"{"mcpServers": {"pyro": "x"}}"#),
        (HostName::OpenCode, r#"{"mcp": false}"#),
        (HostName::Codex, "mcp_servers = 1\n"),
        (HostName::Codex, "[[mcp_servers]]\na = 1\n"),
        (HostName::Codex, "[mcp_servers]\npyro = \"x\"\n"),
    ] {
        let told = refused(name, text);
        assert!(told.contains("and not a map"), "{text}: {told}");
    }
}

#[test]
fn what_would_fall_apart_is_refused() {
    // Nesting beyond all reason must not end the program.
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    refused(HostName::ClaudeCode, &deep);
    refused(HostName::Cursor, &deep);
    refused(HostName::Codex, &format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)));
}

#[test]
fn an_entry_that_is_not_there_cannot_be_mended() {
    for name in HostName::all() {
        assert!(
            matches!(mended(name, ""), Err(Refused::Missing { .. } | Refused::NothingAllowed)),
            "{name:?}"
        );
    }
}

#[test]
fn refusals_are_sentences() {
    let why = Unusable::Twice { place: "`a.b`".to_owned() };
    assert_eq!(why.to_string(), "`a.b` is there twice, and programs differ in which one they take");
}
