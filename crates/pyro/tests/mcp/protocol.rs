//! The protocol: hello, lists, and what is no request at all.

use serde_json::{Value, json};

use crate::{
    client::{Client, server},
    daemon::{Answer, Daemon},
};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn every_revision_is_spoken() {
    let daemon = Daemon::idle();
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (mut client, hello) = Client::speaking(&daemon, &[], revision);
        assert_eq!(hello["protocolVersion"], revision);
        assert_eq!(hello["serverInfo"]["name"], "pyro_mcp");
        assert_eq!(hello["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(hello["instructions"].as_str().unwrap().contains("workspace_create"), "{hello}");
        assert_eq!(names(&client.ask("tools/list", &json!({}))["tools"]).len(), 16);
    }
    let mut client = Client::start(&daemon, &[]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let discovered = client.ask("server/discover", &json!({"_meta": meta}));
    assert!(
        discovered["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")),
        "{discovered}"
    );
    let tools = client.ask("tools/list", &json!({"_meta": meta}));
    assert_eq!(names(&tools["tools"]).len(), 16);
}

#[test]
fn profiles_have_their_tools() {
    let daemon = Daemon::idle();
    for (profile, count) in [("vm-run", 1), ("workspace-core", 16), ("workspace-full", 38)] {
        let mut client = Client::new(&daemon, &["--profile", profile]);
        let tools = client.ask("tools/list", &json!({}))["tools"].clone();
        assert_eq!(names(&tools).len(), count, "{profile}");
        for tool in tools.as_array().unwrap() {
            assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
        }
    }
    let unknown = server(&daemon, &["--profile", "everything"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let mut client = Client::new(&daemon, &["--profile", "vm-run"]);
    let refused = client.call("workspace_list", &json!({}));
    assert_eq!(refused["code"], -32602, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("workspace_list"), "{refused}");
}

#[test]
fn the_profile_of_the_conformance_suite_has_more_and_is_named_nowhere() {
    let daemon = Daemon::idle();
    let mut client = Client::new(&daemon, &["--profile", "conformance"]);
    let tools = client.ask("tools/list", &json!({}))["tools"].clone();
    for name in ["vm_create", "test_image_content"] {
        assert!(names(&tools).contains(&name), "{name}: {tools}");
    }
    let picture = client.call("test_image_content", &json!({}));
    assert_eq!(picture["content"][0]["mimeType"], "image/png", "{picture}");
    for words in [&["--profile", "everything"][..], &["--help"]] {
        let output = server(&daemon, words).output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(told.contains("workspace-full") && !told.contains("conformance"), "{told}");
    }
}

#[test]
fn nonsense_costs_only_itself() {
    let daemon = Daemon::idle();
    let mut client = Client::new(&daemon, &[]);
    client.write(b"this is no JSON");
    client.write(b"{\"jsonrpc\":\"2.0\",\"id\":");
    client.write(b"\xff\xfe");
    client.write(&vec![b'x'; 17 << 20]);
    assert_eq!(client.ask("no/such/method", &json!({}))["code"], -32601);
    assert_eq!(client.ask("ping", &json!({})), json!({}));
}

#[test]
fn prompts_are_filled_in() {
    let daemon = Daemon::idle();
    let mut client = Client::new(&daemon, &[]);
    let list = client.ask("prompts/list", &json!({}));
    assert_eq!(names(&list["prompts"]).len(), 5);
    let arguments = json!({"source": "/src/x", "fault": "it hangs"});
    let prompt = client.ask("prompts/get", &json!({"name": "repro-fix-loop", "arguments": arguments}));
    let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("/src/x") && text.contains("it hangs"), "{text}");
    let missing =
        client.ask("prompts/get", &json!({"name": "repro-fix-loop", "arguments": {"source": "/x"}}));
    assert_eq!(missing["code"], -32602, "{missing}");
}

#[test]
fn files_are_read_by_address() {
    let daemon = Daemon::answering(|operation, request| {
        assert_eq!(operation, "workspace_file_read");
        assert_eq!(request["path"], "src/a b.txt");
        let file = json!({
            "workspace_id": "0123456789ab", "path": "/workspace/src/a b.txt", "size_bytes": 2, "max_bytes": 1_048_576,
            "content": "hi", "encoding": "utf-8", "truncated": false, "execution_mode": "guest_vsock", "offset": 0,
            "bytes_read": 2, "first_line": null, "total_lines": null, "mode": "0644",
        });
        Answer::Json(200, file)
    });
    let mut client = Client::new(&daemon, &[]);
    let uri = "pyro://workspace/fix/files/src/a%20b.txt";
    let read = client.ask("resources/read", &json!({"uri": uri}));
    assert_eq!((&read["contents"][0]["text"], &read["contents"][0]["uri"]), (&json!("hi"), &json!(uri)));
    let nothing = client.ask("resources/read", &json!({"uri": "file:///etc/passwd"}));
    assert_eq!(
        (&nothing["code"], &nothing["data"]["uri"]),
        (&json!(-32002), &json!("file:///etc/passwd")),
        "{nothing}"
    );
}
