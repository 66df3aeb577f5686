//! Files into workspaces and out of them, on real machines: whole or not at all, and never outside of the place that was
//! named, whatever the other side made up. What dies on the way: [`transfer_faults`](super::transfer_faults).

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Outcome};
use serde_json::Value;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output()
}

fn create(home: &Home, seed: &Path) -> Invocation {
    workspace(home, ["create", ENVIRONMENT, "--name", "w", "--json"]).flag("--seed-path").flag(seed)
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

fn directory(home: &Home, name: &str) -> PathBuf {
    let place = home.scratch().join(name);
    fs::create_dir(&place).unwrap();
    place
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no {key} in {value}")).clone()
}

#[test]
fn a_pull_takes_what_only_the_guest_changed_and_a_push_what_it_is_told() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    for name in ["both", "guest", "host", "guest-deletes", "deleted-here", "same", "mode", "kept.log"] {
        fs::write(seed.join(name), format!("{name}\n")).unwrap();
    }
    fs::create_dir(seed.join("dir")).unwrap();
    fs::write(seed.join("dir/inside"), "inside\n").unwrap();
    create(&home, &seed).output().succeeds();
    let path = seed.to_str().unwrap();
    sh(
        &home,
        "for f in both guest deleted-here same; do echo changed > $f; done; rm guest-deletes; chmod 755 mode; \
         ln -s guest link; mkdir -p new/deep; echo n > new/deep/file; rm -r dir; ln -s / out; printf b > \"$(printf '\\377')\"",
    )
    .succeeds();
    fs::write(seed.join("both"), "here\n").unwrap();
    fs::write(seed.join("host"), "here\n").unwrap();
    fs::write(seed.join("same"), "changed\n").unwrap();
    fs::remove_file(seed.join("deleted-here")).unwrap();
    fs::write(seed.join("dir/more"), "here\n").unwrap();
    let tree = || {
        let script = "find . -printf '%p %y %m %l\\n' | sort; find . -type f -exec sha256sum {} + | sort -k2";
        Command::new("sh").args(["-c", script]).current_dir(&seed).output().unwrap().stdout
    };
    let before = tree();
    let dry = workspace(&home, ["sync", "pull", "w", path, "--dry-run", "--json"]).output();
    assert!(tree() == before, "a dry run writes nothing: {dry}");
    let pulled = workspace(&home, ["sync", "pull", "w", path, "--json"]).output().exits(1);
    let text = |name: &str| fs::read_to_string(seed.join(name)).unwrap();
    assert_eq!(
        ["both", "host", "guest", "same"].map(text),
        ["here\n", "here\n", "changed\n", "changed\n"],
        "{pulled}"
    );
    assert!(!seed.join("deleted-here").exists() && !seed.join("guest-deletes").exists(), "{pulled}");
    assert_eq!(text("new/deep/file"), "n\n");
    assert_eq!(text("dir/more"), "here\n");
    assert_eq!(fs::metadata(seed.join("mode")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(seed.join("link")).unwrap(), Path::new("guest"));
    assert_eq!(fs::read_link(seed.join("out")).unwrap(), Path::new("/"), "a link is kept and not followed");
    for name in ["both", "deleted-here"] {
        assert!(pulled.text().contains(&format!("\"{name}\"")), "{name}: {pulled}");
    }

    // A push: what is excluded is neither sent nor deleted; what is not told to go stays.
    fs::remove_file(seed.join("out")).unwrap();
    sh(&home, "echo guest > kept.log; echo guest > only-there; rm out; ls -di . > /tmp/inode").succeeds();
    fs::write(seed.join("kept.log"), "here\n").unwrap();
    let push = |words: &[&str]| {
        let words = ["workspace", "sync", "push", "w", path, "--exclude", "*.log", "--json"]
            .into_iter()
            .chain(words.iter().copied());
        home.pyro(words).output().succeeds().json()["workspace_sync"].clone()
    };
    let stay = sh(&home, "ls -A | sort; cat both only-there").succeeds();
    push(&["--dry-run", "--delete"]);
    sh(&home, "ls -A | sort; cat both only-there").succeeds().prints(stay.stdout);
    push(&[]);
    sh(&home, "cat both kept.log only-there; ls -di . | diff - /tmp/inode")
        .succeeds()
        .prints("here\nguest\nguest\n");
    let deleted = push(&["--delete"]);
    assert!(deleted["deleted_count"].as_u64().unwrap() >= 1, "{deleted}");
    sh(&home, "cat both kept.log; ls only-there").exits(2).prints("here\nguest\n");
    // To another place of the workspace, and to none outside of it.
    workspace(&home, ["sync", "push", "w", path, "--dest", "sub/dir"]).output().succeeds();
    sh(&home, "cat sub/dir/both; ln -s /etc etc").succeeds().prints("here\n");
    workspace(&home, ["sync", "push", "w", path, "--dest", "etc", "--json"])
        .output()
        .fails_with("path_escapes");
    workspace(&home, ["sync", "push", "w", path, "--dest", "/etc", "--json"])
        .output()
        .fails_with("path_escapes");
    sh(&home, "test ! -e /etc/both").succeeds();
    delete(&home);
}

#[test]
fn an_export_stays_where_it_was_told_to_and_replaces_nothing() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fs::write(seed.join("precious"), "precious\n").unwrap();
    create(&home, &seed).output().succeeds();
    // All that a guest could make up: links out, then files through them; devices; set-id bits; names.
    let outside = directory(&home, "outside");
    let script = format!(
        "mkdir h h/real; ln -s {} h/absolute; ln -s ../../../../../../../../../../../.. h/up; echo x > h/real/f; ln h/real/f h/hard; \
         mkfifo h/fifo; mknod h/device c 1 3; chmod 6755 h/real/f; touch \"$(printf 'h/\\377\\n')\"",
        outside.display()
    );
    sh(&home, &script).succeeds();
    let out = home.scratch().join("out");
    let export = |words: &[&str]| {
        home.pyro(["workspace", "export", "w"].iter().chain(words))
            .flag("--json")
            .flag("--output")
            .flag(&out)
            .output()
    };
    let told = export(&["h"]).succeeds().json();
    assert_eq!(list(&told, "notes").len(), 2, "the device and the pipe are named: {told}");
    assert_eq!(fs::read_link(out.join("absolute")).unwrap(), outside);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&out.join("real/f")), 0o755, "no set-id bit arrives");
    assert_eq!(fs::metadata(out.join("hard")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(&out).unwrap().uid(), fs::metadata(home.scratch()).unwrap().uid());
    for entry in fs::read_dir(&out).unwrap() {
        let kind = entry.unwrap().file_type().unwrap();
        assert!(!kind.is_fifo() && !kind.is_char_device());
    }
    // Into a tree whose links lead out, with force: what they point to is not touched.
    fs::remove_file(out.join("hard")).unwrap();
    fs::remove_dir_all(out.join("real")).unwrap();
    symlink(&outside, out.join("real")).unwrap();
    for words in [&["h"] as &[&str], &["h/real/f"], &["h", "--tar"], &["--patch"]] {
        export(words).fails_with("output_exists");
    }
    export(&["h", "--force"]).succeeds();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(fs::symlink_metadata(out.join("real")).unwrap().is_dir());
    // As an archive, to a file and to standard output.
    fs::remove_dir_all(&out).unwrap();
    export(&["h", "--tar"]).succeeds();
    let listed = Command::new("tar").arg("-tf").arg(&out).output().unwrap();
    assert!(
        listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("real/f"),
        "{listed:?}"
    );
    let piped = workspace(&home, ["export", "w", "h", "--tar", "--output", "-"]).output().succeeds();
    assert!(piped.stdout == fs::read(&out).unwrap(), "the same archive on standard output");
    // One file, in the place of a link: the link goes.
    fs::remove_file(&out).unwrap();
    symlink(seed.join("precious"), &out).unwrap();
    export(&["h/real/f"]).fails_with("output_exists");
    export(&["h/real/f", "--force"]).succeeds();
    assert_eq!(fs::read_to_string(&out).unwrap(), "x\n");
    assert_eq!(fs::read_to_string(seed.join("precious")).unwrap(), "precious\n");
    for (path, code) in
        [("h/absolute/x", "path_escapes"), ("h/up/etc", "path_escapes"), ("gone", "path_not_found")]
    {
        export(&[path, "--force"]).fails_with(code);
    }
    assert_eq!(fs::read_to_string(&out).unwrap(), "x\n", "a refused export leaves what is there");
    delete(&home);
}

/// One member of an archive.
struct Member<'a>(&'a str, u8, &'a str, &'a [u8]);

/// A tar archive with these members, as hostile as they are.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Member(name, kind, target, content) in members {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, b"0000644");
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", content.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[*kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn a_hostile_seed_makes_no_workspace_and_an_odd_one_is_told_of() {
    let home = Home::warm();
    let place = directory(&home, "seeds");
    let file = |name: &str, bytes: &[u8]| {
        let path = place.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let good = archive(&[Member("f", b'0', "", &[7; 20_000])]);
    let zip = |name: &str, bytes: &[u8]| {
        let path = file(name, bytes);
        assert!(Command::new("gzip").arg("-n").arg(&path).status().unwrap().success());
        let path = place.join(format!("{name}.gz"));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        path
    };
    let noise: Vec<u8> = (0..60_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let hostile = [
        ("absolute.tar", archive(&[Member("/etc/evil", b'0', "", b"x")])),
        ("up.tar", archive(&[Member("a/../../evil", b'0', "", b"x")])),
        ("through.tar", archive(&[Member("d", b'2', "/etc", b""), Member("d/evil", b'0', "", b"x")])),
        ("hard.tar", archive(&[Member("h", b'1', "/etc/passwd", b"")])),
        ("hard-up.tar", archive(&[Member("h", b'1', "../../etc/passwd", b"")])),
        ("cut.tar", good[..9000].to_vec()),
        ("noise.tar", noise.clone()),
        ("empty.tar", Vec::new()),
    ];
    for (name, bytes) in hostile {
        create(&home, &file(name, &bytes)).output().fails_with("bad_archive");
    }
    let cut = zip("cut-short.tar", &archive(&[Member("f", b'0', "", &noise)]));
    create(&home, &cut).output().fails_with("bad_archive");
    // A device, a pipe, names of full length: no danger, and what is left out is named.
    let long = "n".repeat(100);
    let odd = [
        Member("null", b'3', "", b""),
        Member("fifo", b'6', "", b""),
        Member(&long, b'0', "", b"x"),
        Member("a", b'0', "", b"1"),
        Member("A", b'0', "", b"2"),
        Member("new\nline", b'0', "", b"3"),
        Member("loop", b'2', "loop", b""),
        Member(".pyro-transaction", b'5', "", b""),
    ];
    let created = create(&home, &file("odd.tar", &archive(&odd))).output().succeeds().json();
    assert_eq!(list(&created["workspace_seed"], "notes").len(), 3, "{created}");
    sh(&home, "cat a A new*; find . -mindepth 1 | wc -l; readlink loop").succeeds().prints("1236\nloop\n");
    delete(&home);
    // A directory with what cannot be read or taken, and names of 255 bytes.
    let tree = directory(&home, "tree");
    fs::write(tree.join("n".repeat(255)), "x").unwrap();
    symlink("loop", tree.join("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let is_root = fs::metadata(&tree).unwrap().uid() == 0;
    fs::write(tree.join("unreadable"), "x").unwrap();
    fs::set_permissions(tree.join("unreadable"), fs::Permissions::from_mode(0o0)).unwrap();
    let created = create(&home, &tree).output().succeeds().json();
    let notes = list(&created["workspace_seed"], "notes");
    assert_eq!(notes.len(), if is_root { 1 } else { 2 }, "{created}");
    sh(&home, "ls | wc -l").succeeds().prints(if is_root { "3\n" } else { "2\n" });
    delete(&home);
    let listed = workspace(&home, ["list", "--json"]).output().succeeds().json();
    assert_eq!(listed["count"], 0, "{listed}");
}

/// More than the disk has left, from an archive of next to nothing: it is told, and everything is as before.
#[test]
fn what_does_not_fit_on_the_disk_is_told_and_changes_nothing() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fs::write(seed.join("zeros"), "old\n").unwrap();
    create(&home, &seed).output().succeeds();
    sh(&home, "fallocate -l $(($(df -B1 --output=avail . | tail -n 1) - 50000000)) /opt/fill").succeeds();
    let free =
        || sh(&home, "df --output=avail . | tail -n 1").succeeds().text().trim().parse::<u64>().unwrap();
    let before = free();
    let zeros = home.scratch().join("zeros.tar");
    fs::write(&zeros, archive(&[Member("zeros", b'0', "", &vec![0; 96 << 20])])).unwrap();
    assert!(Command::new("gzip").args(["-1", "-n"]).arg(&zeros).status().unwrap().success());
    let zeros = home.scratch().join("zeros.tar.gz");
    // A single file that cannot fit is refused at once; many fill the disk.
    let names: Vec<String> = (0..120).map(|number| format!("part{number}")).collect();
    let part = vec![0; 500_000];
    let parts: Vec<_> = names.iter().map(|name| Member(name, b'0', "", &part)).collect();
    let many = home.scratch().join("many.tar");
    fs::write(&many, archive(&parts)).unwrap();
    for source in [&zeros, &many] {
        workspace(&home, ["sync", "push", "w", source.to_str().unwrap(), "--json"])
            .output()
            .fails_with("guest_disk_full");
    }
    workspace(&home, ["file", "write", "w", "large", "--stdin", "--json"])
        .stdin(vec![0; 64 << 20])
        .output()
        .fails_with("guest_disk_full");
    workspace(&home, ["file", "list", "w"]).output().succeeds();
    sh(&home, "cat zeros; ls -A").succeeds().prints("old\nzeros\n");
    assert!(free() + 4096 > before, "space is lost: {} of {before} KiB", free());
    sh(&home, "rm /opt/fill").succeeds();
    workspace(&home, ["sync", "push", "w", zeros.to_str().unwrap()]).output().succeeds();
    sh(&home, "stat -c %s zeros").succeeds().prints("100663296\n");
    delete(&home);
}
