//! What somebody edits between the death of a transaction and its recovery stays, and nothing of the change is lost either.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use pyro_tree::{
    RelativePath, Root, Time,
    transaction::{
        Durability, Error, Hook, Kept, NewAttributes, Options, Recovered, Recovery, STAGING_NAME, Spared,
        Transaction, Trust, crash, recover,
    },
};

fn at(path: &str) -> RelativePath {
    RelativePath::new(path).unwrap()
}

fn old_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
}

fn write_old(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::File::options().append(true).open(path).unwrap().set_modified(old_time()).unwrap();
}

fn recovered(root: &Root) -> Recovery {
    recover(root, Trust::Owner, Durability::Process, &|_| Ok(())).unwrap()
}

/// A tree, and one change of every kind.
struct Trial {
    directory: tempfile::TempDir,
    root: Root,
}

const NEW: NewAttributes =
    NewAttributes { mode: None, owner: None, mtime: Some(Time { seconds: 5, nanoseconds: 7 }) };

impl Trial {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["file", "gone", "script", "in/replaced", "dir/deep/file", "to-file/file", "emptied/last"]
        {
            write_old(&path.join(name), "old");
        }
        symlink("old", path.join("link")).unwrap();
        let root = Root::open(path).unwrap();
        root.set_mtime(&at("link"), Time { seconds: 1000, nanoseconds: 0 }).unwrap();
        Self { directory, root }
    }

    fn change(&self, hook: Hook<'_>) -> Result<(), Error> {
        let mut change = Transaction::begin(&self.root, Trust::Owner, Options::default(), hook)?;
        for path in ["file", "in/replaced", "added", "fresh/file"] {
            change.put_file(&at(path), &mut b"new".as_slice(), NEW)?;
        }
        change.put_symlink(&at("link"), b"new", NEW)?;
        for path in ["gone", "dir", "emptied/last", "to-file"] {
            change.remove(&at(path))?;
        }
        change.put_file(&at("to-file"), &mut b"new".as_slice(), NEW)?;
        change.prune(&at("emptied"))?;
        change
            .set_attributes(&at("script"), NewAttributes { mode: Some(0o755), ..NewAttributes::default() })?;
        change.put_directory(&at("read-only"), NewAttributes { mode: Some(0o555), ..NEW })?;
        change.commit().map(drop)
    }

    /// Decided, and nothing of it done.
    fn cut_off() -> Self {
        let trial = Self::new();
        let hook = |point| if point == "transaction-place" { Err(crash()) } else { Ok(()) };
        assert!(matches!(trial.change(&hook), Err(Error::Crashed)));
        trial
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.path().join(path).symlink_metadata().is_ok()
    }

    /// Everything but one path is as after.
    fn assert_rest_is_new(&self, but: &str) {
        for path in ["file", "in/replaced", "added", "fresh/file", "to-file"] {
            if !path.starts_with(but) {
                assert_eq!(self.text(path), "new", "{path}, edited {but}");
            }
        }
        for path in ["gone", "dir", "emptied", STAGING_NAME] {
            assert!(but.starts_with(path) || !self.has(path), "{path}, edited {but}");
        }
        let mode = |path: &str| fs::metadata(self.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((but == "script" || mode("script") == 0o755, mode("read-only")), (true, 0o555));
        if but != "link" {
            assert_eq!(fs::read_link(self.path().join("link")).unwrap(), Path::new("new"));
        }
    }
}

/// What somebody does, at which path, and what lies beside it then.
type Edit = (&'static str, fn(&Path), Option<&'static str>);

#[test]
fn an_edit_between_death_and_recovery_stays_and_what_was_to_be_there_lies_beside_it() {
    let theirs = |path: &Path| fs::write(path, "theirs").unwrap();
    let edits: [Edit; 14] = [
        ("file", theirs, Some("file.pyro-new")),
        ("file", |path| fs::remove_file(path).unwrap(), Some("file.pyro-new")),
        (
            "file",
            |path| fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap(),
            Some("file.pyro-new"),
        ),
        (
            "file",
            |path| {
                fs::write(path.with_extension("pyro-new"), "mine").unwrap();
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            Some("file.pyro-new-2"),
        ),
        ("added", theirs, Some("added.pyro-new")),
        (
            "link",
            |path| {
                fs::remove_file(path).unwrap();
                symlink("3rd", path).unwrap();
                let above = Root::open(path.parent().unwrap()).unwrap();
                above.set_mtime(&at("link"), Time { seconds: 1000, nanoseconds: 0 }).unwrap();
            },
            Some("link.pyro-new"),
        ),
        (
            "in/replaced",
            |path| fs::remove_dir_all(path.parent().unwrap()).unwrap(),
            Some("replaced.pyro-new"),
        ),
        (
            "in/replaced",
            |path| {
                fs::remove_dir_all(path.parent().unwrap()).unwrap();
                symlink("/tmp", path.parent().unwrap()).unwrap();
            },
            Some("replaced.pyro-new"),
        ),
        ("fresh", |path| fs::create_dir(path).unwrap(), Some("fresh.pyro-new")),
        ("gone", theirs, None),
        ("dir", |path| fs::write(path.join("deep/another"), "theirs").unwrap(), None),
        ("dir", |path| fs::write(path.join("deep/file"), "theirs").unwrap(), None),
        ("to-file", |path| fs::write(path.join("another"), "theirs").unwrap(), Some("to-file.pyro-new")),
        ("script", theirs, None),
    ];
    for (index, (path, edit, beside)) in edits.into_iter().enumerate() {
        let trial = Trial::cut_off();
        edit(&trial.path().join(path));
        let describe = || {
            trial.path().join(path).symlink_metadata().ok().map(|about| (about.len(), about.permissions()))
        };
        let edited = describe();
        let recovery = recovered(&trial.root);
        assert_eq!(recovery.outcome, Recovered::Completed);
        let kept = beside.map(|beside| Kept::New(at(beside)));
        assert_eq!(recovery.spared, [Spared { path: at(path), kept }], "{index}");
        assert_eq!(describe(), edited, "{index}");
        match beside {
            Some("link.pyro-new") => {
                assert_eq!(fs::read_link(trial.path().join("link.pyro-new")).unwrap(), Path::new("new"));
            }
            Some("fresh.pyro-new") => assert_eq!(trial.text("fresh.pyro-new/file"), "new"),
            Some(beside) => assert_eq!(trial.text(beside), "new", "{index}"),
            None => {}
        }
        trial.assert_rest_is_new(path);
        assert_eq!(recovered(&trial.root), Recovery { outcome: Recovered::Nothing, spared: Vec::new() });
    }
}

#[test]
fn a_directory_that_got_something_new_is_not_removed() {
    let trial = Trial::cut_off();
    fs::write(trial.path().join("emptied/theirs"), "theirs").unwrap();
    assert_eq!(recovered(&trial.root).spared, []);
    assert_eq!(trial.text("emptied/theirs"), "theirs");
    assert!(!trial.has("emptied/last"));
    trial.assert_rest_is_new("emptied/theirs");
}

#[test]
fn who_has_made_the_same_is_left_in_peace() {
    let trial = Trial::cut_off();
    let added = trial.path().join("added");
    fs::write(&added, "new").unwrap();
    trial.root.set_mtime(&at("added"), Time { seconds: 5, nanoseconds: 7 }).unwrap();
    fs::set_permissions(&added, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(recovered(&trial.root).spared, []);
    trial.assert_rest_is_new("-");
    assert!(!trial.has("added.pyro-new"));
}

#[test]
fn an_edit_in_the_last_moment_stops_the_living() {
    type Edit = (&'static str, fn(&Path));
    let edits: [Edit; 4] = [
        ("in/replaced", |path| fs::write(path, "theirs").unwrap()),
        ("in/replaced", |path| fs::remove_file(path).unwrap()),
        ("gone", |path| fs::write(path, "theirs").unwrap()),
        ("script", |path| fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap()),
    ];
    for (index, (path, edit)) in edits.into_iter().enumerate() {
        let trial = Trial::new();
        let place = trial.path().join(path);
        let is_edited = Cell::new(false);
        // The first step; all was looked at before.
        let hook = |point| {
            if point == "transaction-place" && !is_edited.replace(true) {
                edit(&place);
            }
            Ok(())
        };
        let error = trial.change(&hook).unwrap_err();
        let is_told = match &error {
            Error::Changed { path: told } => *told == at(path),
            // Taking it back spares the edit too.
            Error::Spared { spared, .. } => spared.path == at(path),
            _ => false,
        };
        assert!(is_told, "{index}: {error:?}");
        for other in ["file", "in/replaced", "gone", "script", "dir/deep/file", "to-file/file"] {
            if other != path {
                assert_eq!(trial.text(other), "old", "{index}: {other}");
            }
        }
        let is_theirs = match index {
            0 | 2 => trial.text(path) == "theirs",
            1 => !trial.has(path),
            _ => fs::metadata(&place).unwrap().permissions().mode() & 0o777 == 0o600,
        };
        assert!(is_theirs, "{index}");
        assert!(!trial.has(STAGING_NAME));
    }
}

#[test]
fn an_edit_stays_also_when_all_is_taken_back() {
    // It fails at its end and dies before anything of it is taken back.
    let cut_off = || {
        let trial = Trial::new();
        let hook = |point| match point {
            "transaction-journal-remove" => Err(io::ErrorKind::StorageFull.into()),
            "transaction-undo-step" => Err(crash()),
            _ => Ok(()),
        };
        assert!(matches!(trial.change(&hook), Err(Error::Crashed)));
        assert!(trial.path().join(STAGING_NAME).join("undo").exists());
        trial
    };
    let theirs = |path: &Path| fs::write(path, "theirs").unwrap();
    let edits: [Edit; 5] = [
        ("file", theirs, Some("file.pyro-old")),
        ("gone", theirs, Some("gone.pyro-old")),
        ("added", theirs, None),
        ("fresh", |path| fs::write(path.join("another"), "theirs").unwrap(), None),
        ("script", theirs, None),
    ];
    for (path, edit, beside) in edits {
        let trial = cut_off();
        edit(&trial.path().join(path));
        let recovery = recovered(&trial.root);
        let kept = beside.map(|beside| Kept::Old(at(beside)));
        assert_eq!(
            recovery,
            Recovery { outcome: Recovered::Undone, spared: vec![Spared { path: at(path), kept }] }
        );
        if path == "fresh" {
            assert_eq!(
                (trial.text("fresh/another"), trial.text("fresh/file")),
                ("theirs".into(), "new".into())
            );
        } else {
            assert_eq!(trial.text(path), "theirs");
        }
        if let Some(beside) = beside {
            assert_eq!(trial.text(beside), "old");
        }
        for other in
            ["file", "gone", "in/replaced", "script", "dir/deep/file", "to-file/file", "emptied/last"]
        {
            if other != path {
                assert_eq!(trial.text(other), "old", "{other}, edited {path}");
            }
        }
        assert!(path == "added" || !trial.has("added"));
        assert!(!trial.has("read-only") && !trial.has(STAGING_NAME));
    }
}

/// By path; none: nothing is there.
type Texts = BTreeMap<String, Option<String>>;

fn texts(values: &'static str) -> impl Strategy<Value = Texts> {
    let text = prop::option::weighted(0.7, values);
    prop::collection::btree_map("[ab]|[cd]/a", text, 1..5)
}

fn read(directory: &Path, path: &str) -> Option<String> {
    fs::read_to_string(directory.join(path)).ok()
}

proptest! {
    #[test]
    fn no_edit_is_lost_and_nothing_of_the_change(
        (before, change, edits) in (texts("[o]{1,3}"), texts("[n]{1,3}"), texts("[t]{1,3}")),
        // Mostly between the first and the last step, where an edit is in danger.
        (at_step, dies_at) in prop_oneof![1 => (Just(false), 1_usize..30), 3 => (Just(true), 1_usize..4)],
        dies_again_at in 0_usize..20,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        for name in ["c", "d"] {
            fs::create_dir(top.join(name)).unwrap();
        }
        for (path, text) in &before {
            if let Some(text) = text {
                write_old(&top.join(path), text);
            }
        }
        let root = Root::open(top).unwrap();
        let dies = |at_step: bool, number: usize| {
            let calls = Cell::new(0);
            move |point: &'static str| {
                if !at_step || ["transaction-place", "transaction-remove"].contains(&point) {
                    calls.set(calls.get() + 1);
                }
                if calls.get() == number { Err(crash()) } else { Ok(()) }
            }
        };
        let hook = dies(at_step, dies_at);
        let changed = (|| {
            let mut transaction = Transaction::begin(&root, Trust::Owner, Options::default(), &hook)?;
            for (path, text) in &change {
                match text {
                    Some(text) => drop(transaction.put_file(&at(path), &mut text.as_bytes(), NEW)?),
                    None if read(top, path).is_some() => transaction.remove(&at(path))?,
                    None => {}
                }
            }
            transaction.commit().map(drop)
        })();
        let is_dead = matches!(changed, Err(Error::Crashed));
        prop_assert!(is_dead || changed.is_ok(), "{:?}", changed);
        let at_death: Texts = change.keys().map(|path| (path.clone(), read(top, path))).collect();
        // Who removes what is not there has not edited anything.
        let edits: Texts = edits.into_iter().filter(|(path, text)| read(top, path) != *text).collect();
        for (path, text) in &edits {
            match text {
                Some(text) => fs::write(top.join(path), text).unwrap(),
                None => drop(fs::remove_file(top.join(path))),
            }
        }
        let hook = dies(false, dies_again_at);
        let _died = recover(&root, Trust::Owner, Durability::Process, &hook);
        let recovery = recovered(&root);
        prop_assert!(!top.join(STAGING_NAME).exists());
        let mut is_new = None;
        for path in before.keys().chain(change.keys()).chain(edits.keys()) {
            let now = read(top, path);
            let new = change.get(path);
            if let Some(edit) = edits.get(path) {
                prop_assert_eq!(&now, edit, "the edit at {}", path);
                continue;
            }
            let old = before.get(path).cloned().flatten();
            match new {
                Some(new) if *new != old => {
                    prop_assert!(now == old || now == *new, "{} is {:?}", path, now);
                    prop_assert!(is_new.is_none_or(|is_new| is_new == (now == *new)), "a mix at {}", path);
                    is_new = Some(now == *new);
                }
                _ => prop_assert_eq!(now, old, "{} is nobody's business", path),
            }
        }
        // What was to be put where somebody had edited lies beside it, once it was decided.
        let is_completed = recovery.outcome == Recovered::Completed || is_new == Some(true);
        for (path, text) in change.iter().filter(|(path, text)| text.is_some() && edits.contains_key(*path)) {
            let was_placed = at_death[path] == *text;
            let beside = read(top, &format!("{path}.pyro-new"));
            if is_completed && is_dead && !was_placed {
                prop_assert!(beside == *text, "{} has {:?} beside it", path, beside);
            }
        }
    }
}
