//! Changes that stand in the journal alone are seen as after a mount.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use pyro_disk::{Error, Root};
use support::{Machine, debugfs, run, text, tool, write};

const BLOCK: usize = 4096;

fn machine(options: &[&str]) -> Machine {
    let directory = tempfile::tempdir().unwrap();
    let filler = |letter: &str| letter.repeat(BLOCK);
    write(directory.path(), &[("one", &filler("1")), ("two", &filler("2")), ("three", &filler("3"))]);
    let options: Vec<&str> = ["-b", "4096", "-J", "size=4"].iter().chain(options).copied().collect();
    Machine::of_image(32, &options, directory.path())
}

/// The block of a file of one block.
fn block(machine: &Machine, file: &str) -> u64 {
    let said = debugfs(&machine.image(), &[&format!("blocks {file}")]);
    said.lines().last().unwrap().trim().parse().unwrap()
}

fn contents(machine: &Machine, name: &str, first: &[u8], letter: &str) -> String {
    let mut bytes = letter.repeat(BLOCK).into_bytes();
    bytes[..first.len()].copy_from_slice(first);
    fs::write(machine.path(name), bytes).unwrap();
    machine.path(name).to_str().unwrap().to_owned()
}

/// First letters of the files, as they are seen without and with the journal in its place.
fn seen(machine: &Machine) -> [u8; 3] {
    let first = |root: &Root| {
        ["/one", "/two", "/three"].map(|path| root.read(path.as_bytes(), 9, 1).unwrap().bytes[0])
    };
    let before = first(&machine.root());
    let status =
        tool("e2fsck").args(["-fy", "-E", "journal_only"]).arg(machine.image()).output().unwrap().status;
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    let after = first(&machine.root());
    assert_eq!(before, after, "another program puts the journal in place");
    after
}

#[test]
fn committed_blocks_are_read_from_the_journal() {
    for (open, options) in [
        ("jo -c", &[][..]),
        ("jo", &[]),
        ("jo -c", &["-O", "64bit,metadata_csum"]),
        ("jo", &["-O", "^64bit,^metadata_csum"]),
        ("jo -c -v 2", &["-O", "^64bit"]),
    ] {
        let machine = machine(options);
        let one = contents(&machine, "new-one", b"", "a");
        let two = contents(&machine, "new-two", b"", "b");
        let (at_one, at_two) = (block(&machine, "one"), block(&machine, "two"));
        debugfs(
            &machine.image(),
            &[
                open,
                &format!("jw -b {at_one} {one}"),
                &format!("jw -b {at_two} {one}"),
                &format!("jw -b {at_two} {two}"),
                "jc",
            ],
        );
        assert_eq!(seen(&machine), *b"ab3", "{open} {options:?}");
    }
}

#[test]
fn a_block_that_was_revoked_later_is_not_taken() {
    for open in ["jo", "jo -c"] {
        let machine = machine(&[]);
        let new = contents(&machine, "new", b"", "a");
        let [one, two, three] = ["one", "two", "three"].map(|file| block(&machine, file));
        debugfs(
            &machine.image(),
            &[
                open,
                &format!("jw -b {one},{two},{three} {}", {
                    let all = fs::read(&new).unwrap().repeat(3);
                    fs::write(machine.path("all"), all).unwrap();
                    machine.path("all").display().to_string()
                }),
                &format!("jw -r {one},{two}"),
                &format!("jw -b {two} {new}"),
                "jc",
            ],
        );
        assert_eq!(seen(&machine), *b"1aa", "{open}");
    }
}

#[test]
fn a_transaction_without_its_end_is_as_if_it_never_was() {
    let machine = machine(&[]);
    let new = contents(&machine, "new", b"", "a");
    let (one, two) = (block(&machine, "one"), block(&machine, "two"));
    debugfs(
        &machine.image(),
        &["jo -c", &format!("jw -b {one} {new}"), &format!("jw -b {two} -c {new}"), "jc"],
    );
    assert_eq!(seen(&machine), *b"a23");
}

#[test]
fn a_block_that_looks_like_the_journals_own_is_given_its_beginning_back() {
    let machine = machine(&[]);
    let mark = [0xc0, 0x3b, 0x39, 0x98];
    let new = contents(&machine, "new", &mark, "a");
    let one = block(&machine, "one");
    debugfs(&machine.image(), &["jo -c", &format!("jw -b {one} {new}"), "jc"]);
    let read = |at| machine.root().read(b"/one", at, 6).unwrap().bytes;
    assert_eq!(read(0), [&mark[..], b"aa"].concat());
    assert_eq!(read(2), [&mark[2..], b"aaaa"].concat());
}

#[test]
fn a_damaged_block_in_the_journal_is_an_error_as_for_a_mount() {
    let machine = machine(&["-O", "64bit,metadata_csum"]);
    let new = contents(&machine, "new", b"unmistakable", "a");
    let one = block(&machine, "one");
    debugfs(&machine.image(), &["jo -c", &format!("jw -b {one} {new}"), "jc"]);
    let bytes = fs::read(machine.image()).unwrap();
    let at = bytes.windows(12).position(|window| window == b"unmistakable").unwrap();
    let file = File::options().write(true).open(machine.image()).unwrap();
    file.write_all_at(b"!", at as u64).unwrap();
    let error = machine.try_root().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains("journal"), "{error}");
}

/// Writes a transaction into a journal without checksums, so that it goes around the end.
fn write_around(machine: &Machine, image: &Path, target: u64) {
    let journal: u64 = {
        let said = run(tool("debugfs").arg("-R").arg("bmap <8> 0").arg(image));
        said.trim().parse().unwrap()
    };
    let file = File::options().read(true).write(true).open(image).unwrap();
    let at = |position: u64| {
        let said = run(tool("debugfs").arg("-R").arg(format!("bmap <8> {position}")).arg(image));
        said.trim().parse::<u64>().unwrap() * BLOCK as u64
    };
    let mut superblock = vec![0; 1024];
    file.read_exact_at(&mut superblock, journal * BLOCK as u64).unwrap();
    let end = u64::from(u32::from_be_bytes(superblock[16..20].try_into().unwrap()));
    let header = |kind: u32| {
        let mut block = vec![0; BLOCK];
        block[..4].copy_from_slice(&0xc03b_3998_u32.to_be_bytes());
        block[4..8].copy_from_slice(&kind.to_be_bytes());
        block[8..12].copy_from_slice(&7_u32.to_be_bytes());
        block
    };
    // It starts two blocks before the end, with the seventh transaction, and has no features.
    superblock[24..28].copy_from_slice(&7_u32.to_be_bytes());
    superblock[28..32].copy_from_slice(&u32::try_from(end - 2).unwrap().to_be_bytes());
    superblock[36..48].fill(0);
    file.write_all_at(&superblock, journal * BLOCK as u64).unwrap();
    let mut descriptor = header(1);
    descriptor[12..16].copy_from_slice(&u32::try_from(target).unwrap().to_be_bytes());
    // The last tag, with the journal's own UUID.
    descriptor[18..20].copy_from_slice(&10_u16.to_be_bytes());
    file.write_all_at(&descriptor, at(end - 2)).unwrap();
    file.write_all_at("a".repeat(BLOCK).as_bytes(), at(end - 1)).unwrap();
    file.write_all_at(&header(2), at(1)).unwrap();
    debugfs(&machine.image(), &["feature needs_recovery"]);
}

#[test]
fn the_journal_goes_around() {
    let machine = machine(&["-O", "^64bit,^metadata_csum"]);
    let two = block(&machine, "two");
    write_around(&machine, &machine.image(), two);
    assert_eq!(text(&machine.root(), "/two"), "a".repeat(BLOCK));
    assert_eq!(seen(&machine), *b"1a3");
}
