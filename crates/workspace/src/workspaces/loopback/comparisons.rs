//! What two workspaces have not in common, with all that files can be called and be.

use std::process::Command;

use super::*;
use crate::files::{Change, ChangeStatus, Diff, DiffReport};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

fn diff() -> Diff {
    Diff { max_bytes: 1 << 20, with_counts: true, ..Diff::default() }
}

async fn compared(host: &Host, new: &WorkspaceId, old: &WorkspaceId, diff: Diff) -> DiffReport {
    let (new, old) = host.workspaces().files_of_both(new.as_str(), old.as_str()).await.unwrap();
    new.diff_with(diff, &old).await.unwrap()
}

/// `/workspace` as programs of the guest see it.
fn place(home: &Home, id: &WorkspaceId) -> PathBuf {
    home.directory.path().join("mounts").join(id.as_str())
}

/// Runs a script in a directory; what it prints.
fn sh(place: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const BOTH: &str = r"
    mkdir -p deep/er; seq 40 > moves; seq 1000 > deep/er/long; printf 'no end' > endless; : > empty
    printf '\0old' > blob; printf '\0mov' > blob-moves; echo gone > gone; echo tool > tool; ln -s moves link
    echo file > becomes-link; ln -s deep becomes-file; echo same-size-a > same-size; mkdir kept-empty
    mkdir rights; echo x > rights/x; head -c 3000 /dev/zero | tr '\0' a > untouched; ln moves other-name
    truncate -s 33M big; truncate -s 34M big-moves
";

/// One side goes on; the other one does not.
const NEW: &str = r#"
    mv moves moved; echo more >> deep/er/long; echo >> endless; echo full > empty; printf '\0new' > blob
    mv blob-moves deep/blob-moved; rm gone; chmod 755 tool; ln -sfn tool link; rm becomes-link; ln -s tool becomes-link
    rm becomes-file; echo file > becomes-file; echo same-size-b > same-size; rmdir kept-empty; chmod 700 rights
    mkdir -p new/deep; : > new/deep/empty; printf 'a b' > 'with  space '; echo n > "$(printf 'new\nline')"
    echo b > "$(printf 'byte\377"\\')"; mkdir new-empty; printf 'first\nlast' > new/endless; touch -d @0 untouched
    chmod 755 big; mv big-moves big-moved
"#;

/// Every file with whether it can be executed, its content or target. Of binary files only the name.
const PICTURE: &str = r"
    find . -type f ! -name 'blob*' -printf '%p %M\n' | cut -c-1000 | sed 's/ -..\(.\).*/ \1/' | sort
    find . -type f ! -name 'blob*' -exec sha256sum {} + | sort -k2; find . -type l -printf '%p %l\n' | sort
";

fn status(changes: &[Change], path: &[u8]) -> Option<ChangeStatus> {
    changes.iter().find(|change| change.path == path).map(Change::status)
}

#[test]
fn the_patch_makes_the_other_workspace_this_one() {
    in_namespace("the_patch_makes_the_other_workspace_this_one", || async {
        let home = Home::new();
        let host = home.host().await;
        let (new, old) = (created(&host, request()).await, created(&host, request()).await);
        for id in [&new, &old] {
            // The first worker makes the place.
            write(&host, id, "there", "").await.unwrap();
            sh(&place(&home, id), BOTH);
        }
        assert_eq!(compared(&host, &new, &old, diff()).await, DiffReport::default());
        sh(&place(&home, &new), NEW);
        let report = compared(&host, &new, &old, diff()).await;
        assert_eq!(report.done.notes, [] as [String; 0]);
        use ChangeStatus::{Added, Deleted, Modified, Renamed, TypeChanged};
        for (path, wanted) in [
            (&b"moved"[..], Some(Renamed)),
            (b"moves", None),
            (b"deep/er/long", Some(Modified)),
            (b"deep/blob-moved", Some(Renamed)),
            (b"empty", Some(Modified)),
            (b"blob", Some(Modified)),
            (b"gone", Some(Deleted)),
            (b"tool", Some(Modified)),
            (b"link", Some(Modified)),
            (b"becomes-link", Some(TypeChanged)),
            (b"becomes-file", Some(TypeChanged)),
            (b"same-size", Some(Modified)),
            (b"big", Some(Modified)),
            (b"big-moved", Some(Renamed)),
            (b"kept-empty", Some(Deleted)),
            (b"rights", Some(Modified)),
            (b"rights/x", None),
            (b"untouched", None),
            (b"other-name", None),
            (b"new", None),
            (b"new-empty", Some(Added)),
            (b"new/deep/empty", Some(Added)),
            (b"with  space ", Some(Added)),
            (b"new\nline", Some(Added)),
            (b"byte\xff\"\\", Some(Added)),
        ] {
            assert_eq!(status(&report.changes, path), wanted, "{}", path.escape_ascii());
        }
        let binary = report.changes.iter().find(|change| change.path == b"blob").unwrap();
        let digests = [&binary.base, &binary.now].map(|side| side.as_ref().unwrap().sha256.len());
        assert_eq!((binary.binary, binary.patch_offset, digests), (true, None, [32, 32]));
        let parts: u64 = report.changes.iter().map(|change| change.patch_bytes).sum();
        assert_eq!(parts, report.patch.len() as u64);

        let patch = home.directory.path().join("patch");
        fs::write(&patch, &report.patch).unwrap();
        let (old_place, new_place) = (place(&home, &old), place(&home, &new));
        sh(&old_place, &format!("git apply '{}'", patch.display()));
        assert_eq!(sh(&old_place, PICTURE), sh(&new_place, PICTURE));
        // What no patch can say is left.
        let left = compared(&host, &new, &old, diff()).await;
        let paths: Vec<_> = left.changes.iter().map(|change| change.path.as_slice()).collect();
        assert_eq!(paths, [&b"blob"[..], b"kept-empty", b"new-empty", b"rights"]);
        assert!(left.patch.is_empty());
    });
}

#[test]
fn limits_and_paths_are_those_of_every_difference() {
    in_namespace("limits_and_paths_are_those_of_every_difference", || async {
        let home = Home::new();
        let host = home.host().await;
        // Files are files, whatever environment they are in.
        let elsewhere = CreateRequest { ttl: None, ..CreateRequest::new("debian:12") };
        let (new, old) = (created(&host, request()).await, created(&host, elsewhere).await);
        for (id, text) in [(&new, "new\n"), (&old, "old\n")] {
            for name in ["a/one", "a/two", "ab", "b"] {
                write(&host, id, name, text).await.unwrap();
            }
        }
        write(&host, &new, "moved", "a line\n").await.unwrap();
        write(&host, &old, "moves", "a line\n").await.unwrap();
        let names = |report: &DiffReport| {
            let paths = report.changes.iter().map(|change| String::from_utf8_lossy(&change.path));
            paths.collect::<Vec<_>>().join(" ")
        };
        let below = |path: &[u8]| Diff { paths: vec![path.to_vec()], ..diff() };
        assert_eq!(names(&compared(&host, &new, &old, below(b"a")).await), "a/one a/two");
        assert_eq!(names(&compared(&host, &new, &old, below(b"ab")).await), "ab");
        assert_eq!(names(&compared(&host, &new, &old, below(b"")).await), "a/one a/two ab b moved");
        assert_eq!(names(&compared(&host, &new, &old, below(b"missing")).await), "");
        let apart = compared(&host, &new, &old, Diff { no_renames: true, ..below(b"") }).await;
        assert_eq!(names(&apart), "a/one a/two ab b moved moves");

        let whole = compared(&host, &new, &old, diff()).await;
        let first = whole.changes[0].patch_bytes;
        let little = compared(&host, &new, &old, Diff { max_bytes: first, ..diff() }).await;
        assert_eq!((little.patch.len() as u64, little.done.left_out.len()), (first, 4));
        assert_eq!(names(&little), names(&whole));
        let counted = compared(&host, &new, &old, Diff { names_only: true, ..diff() }).await;
        assert!(counted.patch.is_empty() && counted.done.left_out.is_empty());
        assert_eq!((counted.changes[0].added_lines, counted.changes[0].removed_lines), (Some(1), Some(1)));
        let named = Diff { names_only: true, with_counts: false, ..diff() };
        let named = compared(&host, &new, &old, named).await;
        assert_eq!((names(&named), named.changes[0].added_lines), (names(&whole), None));
    });
}

#[test]
fn both_must_be_there_and_one_is_never_started_for_nothing() {
    in_namespace("both_must_be_there_and_one_is_never_started_for_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        let (here, stopped) = (created(&host, request()).await, created(&host, request()).await);
        let workspaces = host.workspaces();
        let itself = compared(&host, &here, &here, diff()).await;
        assert_eq!(itself, DiffReport::default());
        workspaces.stop(stopped.as_str()).await.unwrap();
        for (one, other) in [(&here, &stopped), (&stopped, &here), (&stopped, &stopped)] {
            let refused = workspaces.files_of_both(one.as_str(), other.as_str()).await.unwrap_err();
            let (text, hint) = (refused.to_string(), refused.hint().unwrap());
            assert!(text.contains(stopped.as_str()) && hint.contains("workspace start"), "{text}: {hint}");
        }
        for (one, other) in [(here.as_str(), "nobody"), ("nobody", here.as_str())] {
            let unknown = workspaces.files_of_both(one, other).await.unwrap_err();
            assert!(matches!(&unknown, Error::UnknownWorkspace { .. }), "{unknown}");
        }
    });
}
