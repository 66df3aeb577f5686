//! Pulls that are cut off and settled, and journals that are none of ours, with the real key and real transactions.

use std::os::unix::fs::MetadataExt;

use pyro_tree::{
    RelativePath,
    transaction::{NewAttributes, Options, STAGING_NAME, Transaction, crash},
};
use tempfile::TempDir;

use super::*;

/// A store, and directories of the user beside it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.make("project");
        home
    }

    fn make(&self, name: &str) {
        fs::create_dir(self.at(name)).unwrap();
        for file in ["changed", "gone"] {
            fs::write(self.at(name).join(file), "old").unwrap();
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn layout(&self) -> Layout {
        Layout::new(self.at("state"), self.at("cache"))
    }

    fn pulls(&self) -> Pulls {
        Pulls::of(&self.layout())
    }

    fn records(&self) -> usize {
        fs::read_dir(self.layout().pulls()).map_or(0, Iterator::count)
    }

    /// As a daemon that was killed when it had just decided to change `changed` and to remove `gone`.
    fn cut_off(&self, name: &str) {
        // Forgotten is as good as dead.
        let under_way = std::mem::ManuallyDrop::new(self.pulls().begin(&self.at(name)).unwrap());
        let died = change(&self.at(name), under_way.trust(), "transaction-place");
        assert!(matches!(died, Err(transaction::Error::Crashed)), "{died:?}");
        assert_eq!(self.texts(name), ["old", "old"]);
    }

    fn texts(&self, name: &str) -> [String; 2] {
        ["changed", "gone"].map(|file| fs::read_to_string(self.at(name).join(file)).unwrap_or_default())
    }

    fn recover(&self, name: &str) -> Result<Vec<String>, FileError> {
        let root = Root::open(&self.at(name)).unwrap();
        let earlier = self.pulls().recover(&root, &self.at(name))?;
        let notes = earlier.notes().to_vec();
        earlier.told();
        Ok(notes)
    }

    fn look(&self, name: &str) -> Result<Vec<String>, FileError> {
        let before = inodes(&self.at(name));
        let looked = self.pulls().look(&Root::open(&self.at(name)).unwrap(), &self.at(name));
        assert_eq!(inodes(&self.at(name)), before, "who looks writes nothing");
        looked.map(|earlier| earlier.notes().to_vec())
    }

    #[track_caller]
    fn assert_refused(&self, name: &str) {
        let before = inodes(&self.at(name));
        let under_way = self.pulls().begin(&self.at(name)).unwrap();
        let begun = change(&self.at(name), under_way.trust(), "");
        drop(under_way);
        let begun = begun.map_err(FileError::change(&self.at(name)));
        for refused in [begun, self.recover(name).map(drop), self.look(name).map(drop)] {
            let refused = refused.unwrap_err();
            assert!(refused.is_untrusted_journal(), "{}", chain(&refused));
            let hint = refused.hint().unwrap();
            assert!(!hint.contains("  "), "{hint}");
            assert!(hint.contains(self.at(name).join(STAGING_NAME).to_str().unwrap()), "{hint}");
        }
        // A lock is all that may be made.
        let after = inodes(&self.at(name));
        assert!(before.iter().all(|file| after.contains(file)) && after.len() <= before.len() + 1);
    }
}

fn change(place: &Path, trust: Trust<'_>, dies_at: &str) -> Result<(), transaction::Error> {
    let at = |path: &str| RelativePath::new(path).unwrap();
    let hook = |point| if point == dies_at { Err(crash()) } else { Ok(()) };
    let root = Root::open(place).unwrap();
    let mut transaction = Transaction::begin(&root, trust, Options::default(), &hook)?;
    transaction.put_file(&at("changed"), &mut b"new".as_slice(), NewAttributes::default())?;
    transaction.remove(&at("gone"))?;
    transaction.commit().map(drop)
}

/// Which files there are, and when they were changed last.
fn inodes(directory: &Path) -> Vec<(PathBuf, u64, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            found.extend(inodes(&path));
        } else {
            found.push((path, about.ino(), about.mtime_nsec()));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn what_a_dead_daemon_left_half_done_is_settled_by_the_next() {
    let home = Home::new();
    home.make("other");
    home.cut_off("project");
    home.cut_off("other");
    fs::write(home.layout().pulls().join("0.draft"), "").unwrap();
    home.pulls().settle().unwrap();
    assert_eq!(
        (home.texts("project"), home.texts("other")),
        (["new".into(), String::new()], ["new".into(), String::new()])
    );
    assert_eq!((home.records(), home.at("project").join(STAGING_NAME).exists()), (0, false));
    home.pulls().settle().unwrap();
}

#[test]
fn a_pull_that_ends_is_forgotten_and_one_whose_journal_is_left_is_not() {
    let home = Home::new();
    let under_way = home.pulls().begin(&home.at("project")).unwrap();
    assert_eq!(home.records(), 1);
    change(&home.at("project"), under_way.trust(), "").unwrap();
    drop(under_way);
    assert_eq!(home.records(), 0);
    fs::write(home.at("project/gone"), "old").unwrap();
    let stuck = home.pulls().begin(&home.at("project")).unwrap();
    change(&home.at("project"), stuck.trust(), "transaction-place").unwrap_err();
    // One that comes too is not in its way.
    drop(home.pulls().begin(&home.at("project")).unwrap());
    drop(stuck);
    assert_eq!(home.records(), 1);
    assert_eq!(home.recover("project").unwrap(), [""; 0]);
    assert_eq!((home.records(), home.texts("project")), (0, ["new".to_owned(), String::new()]));
}

#[test]
fn a_dry_run_only_says_that_a_pull_was_cut_off() {
    let home = Home::new();
    assert_eq!(home.look("project").unwrap(), [""; 0]);
    home.cut_off("project");
    let notes = home.look("project").unwrap();
    assert!(matches!(notes.as_slice(), [note] if note.contains("was cut off")), "{notes:?}");
    assert_eq!((home.texts("project"), home.records()), (["old", "old"].map(str::to_owned), 1));
}

#[test]
fn what_was_edited_since_is_told_until_somebody_heard_it() {
    let home = Home::new();
    home.cut_off("project");
    fs::write(home.at("project/changed"), "theirs").unwrap();
    home.pulls().settle().unwrap();
    home.pulls().settle().unwrap();
    assert_eq!(home.texts("project"), ["theirs".to_owned(), String::new()]);
    assert_eq!(fs::read(home.at("project/changed.pyro-new")).unwrap(), b"new");
    let told = home.look("project").unwrap();
    assert!(matches!(told.as_slice(), [note] if note.contains("`changed.pyro-new`")), "{told:?}");
    assert_eq!(home.recover("project").unwrap(), told);
    assert_eq!((home.recover("project").unwrap(), home.records()), (Vec::new(), 0));
}

#[test]
fn a_journal_that_a_repository_brings_is_refused() {
    let home = Home::new();
    // Made by the same program for somebody else, and by one that seals nothing.
    let stranger = Home::new();
    stranger.cut_off("project");
    change(&home.at("project"), Trust::Owner, "transaction-place").unwrap_err();
    home.assert_refused("project");
    fs::remove_dir_all(home.at("project").join(STAGING_NAME)).unwrap();
    copy(&stranger.at("project").join(STAGING_NAME), &home.at("project").join(STAGING_NAME));
    home.assert_refused("project");
    home.pulls().settle().unwrap();
    assert_eq!(home.texts("project"), ["old", "old"]);
}

#[test]
fn a_journal_is_of_one_directory_and_of_one_pull() {
    let home = Home::new();
    home.make("other");
    home.cut_off("project");
    let (staging, kept) = (home.at("project").join(STAGING_NAME), home.at("kept"));
    copy(&staging, &kept);
    copy(&staging, &home.at("other").join(STAGING_NAME));
    home.assert_refused("other");
    // Nor does it help that a pull was cut off there too.
    fs::remove_dir_all(home.at("other").join(STAGING_NAME)).unwrap();
    home.cut_off("other");
    copy(&staging.join("journal"), &home.at("other").join(STAGING_NAME).join("journal"));
    home.assert_refused("other");
    // The whole directory elsewhere, and back again.
    fs::rename(home.at("project"), home.at("moved")).unwrap();
    home.assert_refused("moved");
    home.pulls().settle().unwrap();
    fs::rename(home.at("moved"), home.at("project")).unwrap();
    home.pulls().settle().unwrap();
    assert_eq!(home.texts("project"), ["new".to_owned(), String::new()]);
    // A second time.
    home.make("again");
    fs::rename(home.at("project"), home.at("done")).unwrap();
    fs::rename(home.at("again"), home.at("project")).unwrap();
    copy(&kept, &staging);
    home.assert_refused("project");
    assert_eq!(home.texts("project"), ["old", "old"]);
}

#[test]
fn without_the_key_nothing_is_settled_and_nothing_lost() {
    let home = Home::new();
    home.cut_off("project");
    let (key, kept) = (home.layout().seal_key(), home.at("kept"));
    fs::rename(&key, &kept).unwrap();
    home.assert_refused("project");
    fs::write(&key, "short").unwrap();
    for refused in [
        home.recover("project").map(drop),
        home.look("project").map(drop),
        home.pulls().begin(&home.at("project")).map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, FileError::SealKey { .. }) && refused.hint().is_some(), "{refused:?}");
    }
    home.pulls().settle().unwrap();
    assert_eq!(home.texts("project"), ["old", "old"]);
    fs::rename(&kept, &key).unwrap();
    home.pulls().settle().unwrap();
    assert_eq!((home.texts("project"), home.records()), (["new".to_owned(), String::new()], 0));
}

#[test]
fn a_directory_that_is_gone_is_no_error() {
    let home = Home::new();
    home.cut_off("project");
    fs::remove_dir_all(home.at("project")).unwrap();
    home.pulls().settle().unwrap();
    home.make("project");
    home.pulls().settle().unwrap();
    assert_eq!((home.texts("project"), home.records()), (["old", "old"].map(str::to_owned), 0));
}
