//! The disk of a stopped workspace, read past its guest: what is told is what the guest saw.

use std::{fs, os::unix::fs::MetadataExt, process::Command};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Signal};
use serde_json::{Value, json};

use super::mcp::Chat;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> String {
    let run = workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]);
    run.output().succeeds().text()
}

fn stop(home: &Home) {
    workspace(home, ["stop", "w"]).output().succeeds();
}

/// A workspace of which each kind of change was made, in `/workspace` and elsewhere.
fn changed() -> Home {
    let home = Home::warm();
    let seed = home.scratch().join("seed");
    fs::create_dir_all(seed.join("src/deep")).unwrap();
    fs::create_dir(seed.join("replaced")).unwrap();
    for file in ["kept", "edited", "gone", "src/deep/a", "replaced/old"] {
        fs::write(seed.join(file), file).unwrap();
    }
    std::os::unix::fs::symlink("../kept", seed.join("src/link")).unwrap();
    // Larger than the template's: the file system has grown while it was mounted.
    let create =
        workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--disk-mib", "6144", "--seed-path"]);
    create.flag(&seed).output().succeeds();
    sh(
        &home,
        "echo more >> edited; rm gone; mv src moved; rm -r replaced; mkdir replaced; echo new > replaced/new
         printf '\\000\\377\\n' > binary; mkdir 'a directory'; echo 'a b' > 'a directory/with space'; ln kept second
         ln -s $(printf '%0200d' 0) long
         ln -s /etc/hostname outside; ln -s loop loop; mkfifo fifo; chmod 4750 edited
         truncate -s 64M holes; mkdir -p /opt/tool; echo 1 > /opt/tool/version; rm /etc/debian_version
         mkdir /root/private; chmod 700 /root/private; echo x > /root/private/x; echo me > /etc/me; sync",
    );
    home
}

fn list(home: &Home, path: &str) -> Value {
    workspace(home, ["disk", "list", "w", path, "--recursive", "--json"]).output().succeeds().json()
}

fn read(home: &Home, path: &str) -> Value {
    workspace(home, ["disk", "read", "w", path, "--json"]).output().succeeds().json()
}

/// Paths with what is there, as `find` has them in the guest.
fn told(list: &Value) -> Vec<String> {
    let entries = list["entries"].as_array().unwrap().iter();
    let mut told: Vec<String> = entries
        .map(|entry| {
            let kind = match entry["artifact_type"].as_str().unwrap() {
                "file" => "f",
                "directory" => "d",
                "symlink" => "l",
                _ => "p",
            };
            let target = entry["link_target"].as_str().unwrap_or("");
            let mode = entry["mode"].as_str().unwrap().trim_start_matches('0').to_owned();
            let (path, size) = (entry["path"].as_str().unwrap(), &entry["size_bytes"]);
            format!("{path} {kind} {mode} {} {} {size} {target}", entry["uid"], entry["gid"])
        })
        .collect();
    told.sort();
    told
}

fn found(home: &Home, path: &str) -> Vec<String> {
    let script = format!(
        "find {path} -mindepth 1 -xdev \\( -type d -printf '%p d %m %U %G 0 \\n' -o -type p -printf '%p p %m %U %G 0 \\n' \
         -o -printf '%p %y %m %U %G %s %l\\n' \\)"
    );
    let mut found: Vec<String> = sh(home, &script).lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[test]
fn a_stopped_disk_shows_what_the_guest_saw() {
    let home = changed();
    for running in [["disk", "list", "w"].as_slice(), &["disk", "read", "w", "kept"]] {
        let refused = home.pyro(["workspace"].iter().chain(running)).json().output();
        refused.fails_with("workspace_state");
        assert!(refused.text().contains("stop it first"), "{refused}");
    }
    let (in_workspace, in_etc) = (found(&home, "/workspace"), found(&home, "/etc"));
    stop(&home);

    assert_eq!(told(&list(&home, "/workspace")), in_workspace);
    // What the guest keeps there of its own is mounted over, and goes with the machine.
    let of_the_machine = |line: &&String| {
        ["/etc/hostname ", "/etc/hosts ", "/etc/machine-id "].iter().all(|own| !line.starts_with(own))
    };
    let etc = told(&list(&home, "/etc"));
    assert_eq!(
        etc.iter().filter(of_the_machine).collect::<Vec<_>>(),
        in_etc.iter().filter(of_the_machine).collect::<Vec<_>>()
    );
    let names = |path: &str| {
        let list = workspace(&home, ["disk", "list", "w", path, "--json"]).output().succeeds().json();
        let entries = list["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("replaced"), ["/workspace/replaced/new"]);
    assert_eq!(names("moved/deep"), ["/workspace/moved/deep/a"]);
    assert_eq!(names("../opt/./tool"), ["/opt/tool/version"]);
    assert_eq!(names("/root/private"), ["/root/private/x"]);

    assert_eq!(read(&home, "edited")["content"], "editedmore\n");
    assert_eq!(read(&home, "a directory/with space")["content"], "a b\n");
    assert_eq!(read(&home, "moved/link")["content"], "kept", "a link is followed in the guest");
    let binary = read(&home, "binary");
    assert_eq!((&binary["content_base64"], &binary["size_bytes"]), (&json!("AP8K"), &json!(3)), "{binary}");
    assert!(!read(&home, "/usr/lib/os-release")["content"].as_str().unwrap().is_empty());
    assert_eq!(read(&home, "/etc/me")["content"], "me\n");
    let part =
        workspace(&home, ["disk", "read", "w", "edited", "--offset", "6", "--max-bytes", "2", "--json"]);
    let part = part.output().succeeds().json();
    assert_eq!((&part["content"], &part["truncated"]), (&json!("mo"), &json!(true)), "{part}");
    let raw = workspace(&home, ["disk", "read", "w", "holes", "--raw"]).output().succeeds();
    assert_eq!(raw.stdout.len(), 64 << 20);

    for (path, code) in [
        ("gone", "path_not_found"),
        ("/etc/debian_version", "path_not_found"),
        ("replaced/old", "path_not_found"),
        ("fifo", "wrong_file_type"),
        ("moved", "wrong_file_type"),
        ("kept/below", "wrong_file_type"),
        ("loop", "path_escapes"),
    ] {
        workspace(&home, ["disk", "read", "w", path, "--json"]).output().fails_with(code);
    }
    // Nothing of it was activity or a change: it starts again, and is as it was.
    workspace(&home, ["start", "w"]).output().succeeds();
    assert_eq!(found(&home, "/workspace"), in_workspace);
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_disk_is_taken_out_whole_or_not_at_all() {
    let home = changed();
    // The journal of a machine that was not shut down has what the kernel would find there.
    let machine = home.machine();
    machine.vmm.signal(Signal::KILL);
    machine.assert_gone();
    assert_eq!(read(&home, "replaced/new")["content"], "new\n");

    let image = home.scratch().join("disk.ext4");
    let exported = workspace(&home, ["disk", "export", "w", "--json", "--output"]).flag(&image);
    let exported = exported.output().succeeds().json();
    let about = fs::metadata(&image).unwrap();
    assert_eq!((&exported["disk_format"], &exported["bytes_written"]), (&json!("ext4"), &json!(about.len())));
    assert_eq!(about.len(), 6144 << 20);
    assert!(about.blocks() * 512 < 200 << 20, "holes were filled: {} bytes", about.blocks() * 512);
    let check = Command::new("e2fsck").args(["-f", "-p"]).arg(&image).output().unwrap();
    assert!(check.status.code().is_some_and(|code| code <= 1), "{}", String::from_utf8_lossy(&check.stdout));

    let again = workspace(&home, ["disk", "export", "w", "--json", "--output"]).flag(&image);
    again.output().fails_with("output_exists");
    let tree = home.scratch().join("root.tar");
    let merged = workspace(&home, ["disk", "export", "w", "--merged", "--json", "--output"]).flag(&tree);
    let merged = merged.output().succeeds().json();
    assert_eq!(
        (&merged["disk_format"], &merged["bytes_written"]),
        (&json!("tar"), &json!(fs::metadata(&tree).unwrap().len()))
    );
    let listed = Command::new("tar").arg("-tf").arg(&tree).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let has = |name: &str| names.lines().any(|line| line == name);
    for there in [
        "workspace/replaced/new",
        "workspace/moved/deep/a",
        "opt/tool/version",
        "usr/bin/git",
        "workspace/fifo",
    ] {
        assert!(has(there), "{there} is not in the archive");
    }
    for gone in ["workspace/gone", "workspace/src/link", "etc/debian_version", "workspace/replaced/old"] {
        assert!(!has(gone), "{gone} is in the archive");
    }
    let extract = Command::new("tar").arg("-xOf").arg(&tree).arg("workspace/edited").output().unwrap();
    assert_eq!(extract.stdout, b"editedmore\n");
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_chat_looks_at_a_stopped_disk() {
    let home = changed();
    stop(&home);
    let scratch = home.scratch().to_str().unwrap().to_owned();
    let mut chat = Chat::with(&home, &["--profile", "workspace-full", "--allow-path", &scratch]);
    let listed =
        chat.call("workspace_disk_list", &json!({"workspace_id": "w", "path": "moved", "recursive": true}));
    assert_eq!(listed["entries"].as_array().unwrap().len(), 3, "{listed}");
    let read = chat.call("workspace_disk_read", &json!({"workspace_id": "w", "path": "/etc/me"}));
    assert_eq!((&read["content"], &read["guest_data"]), (&json!("me\n"), &json!(["content"])), "{read}");
    let bytes = chat.call("workspace_disk_read", &json!({"workspace_id": "w", "path": "binary"}));
    assert_eq!((&bytes["content"], &bytes["truncated"]), (&json!(""), &json!(true)), "{bytes}");
    let bytes =
        chat.call("workspace_disk_read", &json!({"workspace_id": "w", "path": "binary", "base64": true}));
    assert_eq!(bytes["content"], "AP8K", "{bytes}");
    let output = format!("{scratch}/taken.ext4");
    let exported = chat.call("workspace_disk_export", &json!({"workspace_id": "w", "output_path": output}));
    assert_eq!(exported["disk_format"], "ext4", "{exported}");
    let outside = json!({"workspace_id": "w", "output_path": "/etc/taken.ext4"});
    assert_eq!(chat.failure("workspace_disk_export", &outside)["code"], "forbidden");
    workspace(&home, ["start", "w"]).output().succeeds();
    let refused = chat.failure("workspace_disk_list", &json!({"workspace_id": "w"}));
    assert_eq!(refused["code"], "workspace_state", "{refused}");
    chat.end();
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_damaged_disk_is_told_and_left_as_it_is() {
    let home = changed();
    stop(&home);
    let id = workspace(&home, ["status", "w", "--json"]).output().succeeds().json()["workspace_id"].clone();
    let disk = home.path().join("data/workspaces").join(id.as_str().unwrap()).join("disk/active.qcow2");
    let whole = fs::read(&disk).unwrap();
    // The table of all tables; the header says where it is.
    let mut torn = whole.clone();
    let table = usize::try_from(u64::from_be_bytes(whole[40..48].try_into().unwrap())).unwrap();
    torn[table..table + 64].fill(0x7f);
    fs::write(&disk, &torn).unwrap();
    let damaged = workspace(&home, ["disk", "list", "w", "--json"]).output();
    damaged.fails_with("disk_damaged");
    assert!(damaged.text().contains("active.qcow2"), "{damaged}");
    assert_eq!(fs::read(&disk).unwrap(), torn);
    fs::write(&disk, &whole).unwrap();
    workspace(&home, ["disk", "list", "w"]).output().succeeds();
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
