//! Memory that is kept and opened again, and what becomes of it when its files are another's or damaged.

use std::{
    fs,
    io::Write,
    os::fd::AsFd,
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
};

use pyro_engine::{
    ComposeError, MemoryBase, SealedMemory,
    memory_delta::{MemoryDeltaError, MemoryDeltaWriter, PAGE_BYTES},
};

use super::*;

const PAGES: u64 = 300;
const MEMORY_BYTES: u64 = PAGES * PAGE_BYTES as u64;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn key(&self) -> SealKey {
        SealKey::of(&self.at("seal.key")).unwrap()
    }

    /// A captured delta of these pages, each of one byte's repetition.
    fn captured(&self, name: &str, pages: impl IntoIterator<Item = (u64, u8)>) -> PathBuf {
        let mut delta = MemoryDeltaWriter::begin(Vec::new(), MEMORY_BYTES).unwrap();
        for (page, value) in pages {
            delta.pages(page, &[value; PAGE_BYTES]).unwrap();
        }
        fs::write(self.at(name), delta.end().unwrap().0).unwrap();
        self.at(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn byte(memory: &SealedMemory, page: u64) -> u8 {
    let file = File::from(memory.as_fd().try_clone_to_owned().unwrap());
    let mut byte = [0];
    file.read_exact_at(&mut byte, page * PAGE_BYTES as u64 + 77).unwrap();
    byte[0]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_chain_that_was_kept_is_composed() {
    let (home, size_bytes) = (Home::new(), MEMORY_BYTES);
    let key = home.key();
    let (one, two) = (home.at("one"), home.at("two"));
    let first = home.captured("first", (0..200).map(|page| (page, 1)));
    let kept = keep(&key, &first, size_bytes, "one", None, &one).unwrap();
    assert_eq!((kept.pages, kept.digests.pages()), (200, 200));
    assert_eq!(kept.stored_bytes, fs::metadata(&one).unwrap().len());
    assert!(kept.stored_bytes < 20_000, "{} bytes are not compressed", kept.stored_bytes);
    let digests_bytes = keep_digests(&key, &kept.digests, "one", &home.at("digests")).unwrap();
    assert_eq!(digests_bytes, fs::metadata(home.at("digests")).unwrap().len());

    // As after the next start of the daemon.
    let key = home.key();
    let parent = open_digests(&key, &home.at("digests"), "one", size_bytes).unwrap();
    assert_eq!(parent, kept.digests);
    let second = home.captured("second", (0..201).map(|page| (page, if page == 7 { 0 } else { 1 })));
    let kept = keep(&key, &second, size_bytes, "two", Some(&parent), &two).unwrap();
    assert_eq!((kept.pages, kept.digests.pages()), (2, 201));

    let deltas = [open(&key, &one, "one").unwrap(), open(&key, &two, "two").unwrap()];
    let memory = SealedMemory::compose(MemoryBase::Zero { size_bytes }, deltas).unwrap();
    assert_eq!([0, 7, 199, 200, 201].map(|page| byte(&memory, page)), [1, 0, 1, 1, 0]);
    for path in [&one, &two, &home.at("digests")] {
        assert_eq!(mode(path), 0o600);
    }
    assert_eq!(home.names(), ["digests", "first", "one", "seal.key", "second", "two"], "no draft is left");
}

#[test]
fn a_file_is_kept_and_made_again() {
    let home = Home::new();
    let key = home.key();
    for content in [Vec::new(), b"state of devices".to_vec(), vec![3; 300_000]] {
        fs::write(home.at("plain"), &content).unwrap();
        let bytes = keep_file(&key, &home.at("plain"), "one", &home.at("kept")).unwrap();
        assert_eq!(bytes, fs::metadata(home.at("kept")).unwrap().len());
        open_file(&key, &home.at("kept"), "one", &home.at("again")).unwrap();
        assert!(fs::read(home.at("again")).unwrap() == content);
        assert_eq!((mode(&home.at("kept")), mode(&home.at("again"))), (0o600, 0o600));
    }
    // The last one has more than one chunk: the damage is found when some of it was read.
    let mut kept = fs::read(home.at("kept")).unwrap();
    *kept.last_mut().unwrap() ^= 1;
    fs::write(home.at("kept"), kept).unwrap();
    fs::remove_file(home.at("again")).unwrap();
    let error = open_file(&key, &home.at("kept"), "one", &home.at("again")).unwrap_err();
    assert!(
        matches!(error, KeptMemoryError::Sealed { source: SealedError::Damaged { .. }, .. }),
        "{error:?}"
    );
    assert_eq!(home.names(), ["kept", "plain", "seal.key"]);
}

#[test]
fn no_file_stands_in_for_another() {
    let home = Home::new();
    let key = home.key();
    let captured = home.captured("captured", [(1, 1)]);
    let kept = keep(&key, &captured, MEMORY_BYTES, "one", None, &home.at("memory")).unwrap();
    keep_digests(&key, &kept.digests, "one", &home.at("digests")).unwrap();
    keep_file(&key, &captured, "one", &home.at("file")).unwrap();
    let stranger = Home::new().key();
    for (name, id, key) in [
        ("memory", "two", &key),
        ("digests", "one", &key),
        ("file", "one", &key),
        ("memory", "one", &stranger),
    ] {
        let deltas = [open(key, &home.at(name), id).unwrap()];
        let error = SealedMemory::compose(MemoryBase::Zero { size_bytes: MEMORY_BYTES }, deltas).unwrap_err();
        let ComposeError::Delta(MemoryDeltaError::Read(error)) = error else { panic!("{error:?}") };
        assert!(
            matches!(SealedError::within(&error), Some(SealedError::Damaged { .. })),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains("another key"), "{error}");
    }
    for (name, id) in [("memory", "one"), ("file", "one"), ("digests", "two")] {
        let error = open_digests(&key, &home.at(name), id, MEMORY_BYTES).unwrap_err();
        let damaged = matches!(error, KeptMemoryError::Sealed { source: SealedError::Damaged { .. }, .. });
        assert!(damaged, "{name}: {error:?}");
        open_file(&key, &home.at(name), "two", &home.at("out")).unwrap_err();
    }
    let error = open_digests(&key, &home.at("digests"), "one", PAGE_BYTES as u64).unwrap_err();
    assert!(matches!(error, KeptMemoryError::Digests { .. }), "{error:?}");
    let error = open(&key, &home.at("captured"), "one").unwrap_err();
    assert!(
        matches!(error, KeptMemoryError::Sealed { source: SealedError::Foreign { .. }, .. }),
        "{error:?}"
    );
    let error = open(&key, &home.at("absent"), "one").unwrap_err();
    assert!(matches!(error, KeptMemoryError::File { operation: "open", .. }), "{error:?}");
}

#[test]
fn every_truncation_of_kept_memory_is_refused_by_compose() {
    let home = Home::new();
    let (key, place) = (home.key(), home.at("kept"));
    let captured = home.captured("captured", [(1, 1), (40, 0)]);
    keep(&key, &captured, MEMORY_BYTES, "one", None, &place).unwrap();
    let whole = fs::read(&place).unwrap();
    for length in 0..whole.len() {
        fs::write(&place, &whole[..length]).unwrap();
        let opened = open(&key, &place, "one");
        let composed =
            opened.map(|delta| SealedMemory::compose(MemoryBase::Zero { size_bytes: MEMORY_BYTES }, [delta]));
        assert!(!matches!(composed, Ok(Ok(_))), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn what_cannot_be_kept_leaves_nothing() {
    let home = Home::new();
    let (key, place) = (home.key(), home.at("kept"));
    // Damage that shows at the very end, when all was written.
    let captured =
        home.captured("captured", (0..PAGES).map(|page| (page, u8::try_from(page % 251).unwrap())));
    let mut bytes = fs::read(&captured).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&captured, &bytes).unwrap();
    let error = keep(&key, &captured, MEMORY_BYTES, "one", None, &place).unwrap_err();
    assert!(matches!(error, KeptMemoryError::Captured { .. }), "{error:?}");
    assert_eq!(home.names(), ["captured", "seal.key"]);
    // What was there before stays.
    fs::write(&place, "older").unwrap();
    keep(&key, &captured, MEMORY_BYTES, "one", None, &place).unwrap_err();
    assert_eq!(fs::read(&place).unwrap(), b"older");
    fs::remove_file(&place).unwrap();

    // Something that a file cannot replace is in the place.
    fs::create_dir(&place).unwrap();
    let error = keep_file(&key, &captured, "one", &place).unwrap_err();
    assert!(matches!(error, KeptMemoryError::File { operation: "make", .. }), "{error:?}");
    keep_digests(&key, &PageDigests::default(), "one", &place).unwrap_err();
    assert_eq!(home.names(), ["captured", "kept", "seal.key"]);
    keep_file(&key, &captured, "one", &home.at("absent/kept")).unwrap_err();
    keep_file(&key, &home.at("absent"), "one", &home.at("new")).unwrap_err();
    assert_eq!(home.names(), ["captured", "kept", "seal.key"]);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let home = Home::new();
    let key = home.key();
    let place = home.at("kept");
    let error = seal(&key, Kind::File, "one", &place, |out| {
        out.write_all(&[1; 200_000]).map_err(failed("write", &place))?;
        Err::<(), _>(failed("write", &place)(io::ErrorKind::StorageFull.into()))
    });
    assert!(
        matches!(error, Err(KeptMemoryError::File { source, .. }) if source.kind() == io::ErrorKind::StorageFull)
    );
    assert_eq!(home.names(), ["seal.key"]);
}

#[test]
fn what_a_killed_process_left_is_replaced() {
    let home = Home::new();
    let key = home.key();
    fs::write(home.at("plain"), "state").unwrap();
    fs::write(home.at(".partial-kept"), "half of somebody's").unwrap();
    fs::set_permissions(home.at(".partial-kept"), fs::Permissions::from_mode(0o666)).unwrap();
    keep_file(&key, &home.at("plain"), "one", &home.at("kept")).unwrap();
    open_file(&key, &home.at("kept"), "one", &home.at("again")).unwrap();
    assert_eq!(fs::read(home.at("again")).unwrap(), b"state");
    assert_eq!((mode(&home.at("kept")), home.names().len()), (0o600, 4));
}
