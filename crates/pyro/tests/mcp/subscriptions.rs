//! Being told when a file or a log has changed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    daemon::{Answer, Daemon, refusal, result},
};

const LOGS: &str = "pyro://workspace/fix/logs";
const FILE: &str = "pyro://workspace/fix/files/a.txt";

/// A workspace that changes as the test says: each change lets one wait end.
struct Changing {
    daemon: Daemon,
    change: mpsc::Sender<(u64, u64, u64)>,
    size: Arc<AtomicU64>,
}

fn revision((last, commands, files): (u64, u64, u64)) -> Answer {
    let revision = json!({
        "workspace_id": "0123456789ab", "revision": last, "commands_revision": commands,
        "files_revision": files, "changed": true,
    });
    Answer::Frames(vec![result(&revision)])
}

impl Changing {
    fn new() -> Self {
        let (change, changes) = mpsc::channel::<(u64, u64, u64)>();
        let changes = Mutex::new(changes);
        let size = Arc::new(AtomicU64::new(1));
        let bytes = Arc::clone(&size);
        let daemon = Daemon::answering(move |operation, request| match operation {
            "workspace_wait" if request.get("after").is_none() => revision((10, 10, 10)),
            "workspace_wait" => match changes.lock().unwrap().recv() {
                Ok((0, ..)) => refusal("unknown_workspace"),
                Ok(next) => revision(next),
                Err(_) => Answer::Held(Vec::new()),
            },
            "workspace_file_stat" => Answer::Json(
                200,
                json!({
                    "workspace_id": "0123456789ab", "path": "/workspace/a.txt", "artifact_type": "file",
                    "size_bytes": bytes.load(Ordering::SeqCst), "link_target": null, "mode": "0644", "uid": 0,
                    "gid": 0, "modified_at": 1.0,
                }),
            ),
            other => panic!("{other}"),
        });
        Self { daemon, change, size }
    }
}

fn updated(client: &mut Client) -> Value {
    let update = client.receive(|message| message["method"] == "notifications/resources/updated");
    update["params"]["uri"].clone()
}

#[test]
fn a_subscriber_is_told_of_what_he_subscribed_to_and_of_nothing_else() {
    let workspace = Changing::new();
    let (mut client, hello) = Client::speaking(&workspace.daemon, &[], "2025-11-25");
    assert_eq!(hello["capabilities"]["resources"]["subscribe"], true);
    assert_eq!(client.ask("resources/subscribe", &json!({"uri": LOGS})), json!({}));
    assert_eq!(client.ask("resources/subscribe", &json!({"uri": LOGS})), json!({}), "once is enough");
    // A file changed, then a command ended.
    workspace.change.send((11, 10, 11)).unwrap();
    workspace.change.send((12, 12, 11)).unwrap();
    assert_eq!(updated(&mut client), LOGS);
    // Another wait has begun by then: the first change told nothing.
    let waits: Vec<Value> = (0..4).map(|_| workspace.daemon.wait_for("workspace_wait")).collect();
    let after: Vec<&Value> = waits.iter().map(|wait| &wait["after"]).collect();
    assert_eq!(after, [&Value::Null, &json!(10), &json!(11), &json!(12)]);
    // By its id, whatever has its name by now.
    assert_eq!((&waits[0]["workspace"], &waits[1]["workspace"]), (&json!("fix"), &json!("0123456789ab")));
    // It goes, and that is the last that is told.
    workspace.change.send((0, 0, 0)).unwrap();
    assert_eq!(updated(&mut client), LOGS);
}

#[test]
fn a_file_is_told_about_when_it_is_another_one() {
    let workspace = Changing::new();
    let mut client = Client::new(&workspace.daemon, &[]);
    assert_eq!(client.ask("resources/subscribe", &json!({"uri": FILE})), json!({}));
    workspace.daemon.wait_for("workspace_file_stat");
    // Something else changed.
    workspace.change.send((11, 10, 11)).unwrap();
    workspace.daemon.wait_for("workspace_file_stat");
    workspace.size.store(2, Ordering::SeqCst);
    workspace.change.send((12, 12, 12)).unwrap();
    assert_eq!(updated(&mut client), FILE);
    assert_eq!(client.ask("resources/unsubscribe", &json!({"uri": FILE})), json!({}));
    assert_eq!(client.ask("resources/unsubscribe", &json!({"uri": FILE})), json!({}), "it is so already");
}

#[test]
fn subscriptions_are_bounded_and_to_what_is_there() {
    let daemon = Daemon::answering(|operation, request| match operation {
        "workspace_wait" if request["workspace"] == "none" => refusal("unknown_workspace"),
        "workspace_wait" if request.get("after").is_none() => revision((10, 10, 10)),
        "workspace_wait" => Answer::Held(Vec::new()),
        other => panic!("{other}"),
    });
    let mut client = Client::new(&daemon, &[]);
    let mut subscribe = |uri: &str| client.ask("resources/subscribe", &json!({"uri": uri}));
    assert_eq!(subscribe("file:///etc/passwd")["code"], -32002);
    assert_eq!(subscribe("pyro://workspace/none/logs")["code"], -32002);
    for number in 0..64 {
        assert_eq!(subscribe(&format!("pyro://workspace/w{number}/logs")), json!({}));
    }
    let refused = subscribe("pyro://workspace/one-more/logs");
    assert!(refused["message"].as_str().unwrap().contains("64"), "{refused}");
    client.ask("resources/unsubscribe", &json!({"uri": "pyro://workspace/w7/logs"}));
    assert_eq!(client.ask("resources/subscribe", &json!({"uri": LOGS})), json!({}));
}

#[test]
fn the_newest_revision_listens_to_many_at_once() {
    let workspace = Changing::new();
    let mut client = Client::start(&workspace.daemon, &[]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let wanted = json!({"resourceSubscriptions": [LOGS, "file:///etc/passwd"]});
    let id = client.begin("subscriptions/listen", &json!({"_meta": meta, "notifications": wanted}));
    let acknowledged =
        client.receive(|message| message["method"] == "notifications/subscriptions/acknowledged");
    assert_eq!(
        acknowledged["params"]["notifications"]["resourceSubscriptions"],
        json!([LOGS]),
        "{acknowledged}"
    );
    workspace.daemon.wait_for("workspace_wait");
    workspace.change.send((11, 11, 10)).unwrap();
    assert_eq!(updated(&mut client), LOGS);
    client.notify("notifications/cancelled", &json!({"requestId": id, "_meta": meta}));
}
