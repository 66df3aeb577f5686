//! A journal is carried out only where it is believed, and whoever only looks writes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use pyro_tree::{
    RelativePath, Root,
    transaction::{
        Durability, Error, NewAttributes, Options, Recovered, STAGING_NAME, Seal, TAG_BYTES, Tag,
        Transaction, Trust, crash, is_cut_off, recover,
    },
};
use support::describe;

/// Sums bytes and a salt: enough to be another one for another journal.
#[derive(Debug)]
struct Salted(u8);

impl Seal for Salted {
    fn tag(&self, journal: &[u8]) -> Tag {
        let mut tag = [self.0; TAG_BYTES];
        for (index, byte) in journal.iter().enumerate() {
            let place = &mut tag[index % TAG_BYTES];
            *place = place.wrapping_mul(31).wrapping_add(*byte);
        }
        tag
    }

    fn holds(&self, journal: &[u8], tag: &Tag) -> bool {
        self.tag(journal) == *tag
    }
}

const OURS: Trust<'static> = Trust::Sealed(&Salted(1));
const OTHERS: Trust<'static> = Trust::Sealed(&Salted(2));

fn at(path: &str) -> RelativePath {
    RelativePath::new(path).unwrap()
}

/// Replaces `file`, sealed as is said, and dies at that point.
fn cut_off(directory: &Path, trust: Trust<'_>, dies_at: &str) -> Root {
    fs::write(directory.join("file"), "old").unwrap();
    let root = Root::open(directory).unwrap();
    let hook = |point| if point == dies_at { Err(crash()) } else { Ok(()) };
    let mut transaction = Transaction::begin(&root, trust, Options::default(), &hook).unwrap();
    transaction.put_file(&at("file"), &mut b"new".as_slice(), NewAttributes::default()).unwrap();
    assert!(matches!(transaction.commit(), Err(Error::Crashed)));
    root
}

fn recovered(root: &Root, trust: Trust<'_>) -> Result<Recovered, Error> {
    recover(root, trust, Durability::Process, &|_| Ok(())).map(|recovery| recovery.outcome)
}

#[test]
fn a_journal_that_another_sealed_or_nobody_is_never_carried_out() {
    for (sealed, trust) in [(OTHERS, OURS), (Trust::Owner, OURS)] {
        let directory = tempfile::tempdir().unwrap();
        let root = cut_off(directory.path(), sealed, "transaction-place");
        let before = describe(directory.path());
        assert!(matches!(is_cut_off(&root, trust), Err(Error::Unsealed)));
        assert!(matches!(recovered(&root, trust), Err(Error::Unsealed)));
        let begun = Transaction::begin(&root, trust, Options::default(), &|_| Ok(()));
        assert!(matches!(begun, Err(Error::Unsealed)));
        assert_eq!(describe(directory.path()), before);
        // Nor is it taken back.
        let staging = directory.path().join(STAGING_NAME);
        fs::rename(staging.join("journal"), staging.join("undo")).unwrap();
        assert!(matches!(recovered(&root, trust), Err(Error::Unsealed)));
        assert!(matches!(is_cut_off(&root, trust), Err(Error::Unsealed)));
        assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"old");
    }
    let directory = tempfile::tempdir().unwrap();
    let root = cut_off(directory.path(), OURS, "transaction-place");
    assert_eq!(recovered(&root, OURS).unwrap(), Recovered::Completed);
    assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"new");
}

#[test]
fn who_only_looks_writes_nothing() {
    for (dies_at, is_decided) in [("transaction-verify", false), ("transaction-place", true)] {
        let directory = tempfile::tempdir().unwrap();
        let root = cut_off(directory.path(), OURS, dies_at);
        fs::remove_file(directory.path().join(STAGING_NAME).join("lock")).unwrap();
        let before = describe(directory.path());
        assert_eq!(is_cut_off(&root, OURS).unwrap(), is_decided);
        assert_eq!(describe(directory.path()), before);
        recovered(&root, OURS).unwrap();
        assert!(!is_cut_off(&root, OURS).unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    assert!(!is_cut_off(&root, OURS).unwrap());
    let alive = Transaction::begin(&root, OURS, Options::default(), &|_| Ok(())).unwrap();
    assert!(matches!(is_cut_off(&root, OURS), Err(Error::Busy)));
    drop(alive);
    fs::create_dir(directory.path().join(STAGING_NAME)).unwrap();
    let others = PermissionsExt::from_mode(0o777);
    fs::set_permissions(directory.path().join(STAGING_NAME), others).unwrap();
    assert!(matches!(is_cut_off(&root, Trust::Owner), Err(Error::Foreign)));
    assert!(!is_cut_off(&root, OURS).unwrap(), "the seal says what is believed");
}
