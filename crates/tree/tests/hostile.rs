//! Archives that mean harm: each is refused by name, or unpacked to something harmless; nothing outside is touched.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    time::Instant,
};

use pyro_tree::{
    Root,
    archive::{self, Limits, Reader, Special},
    notes::Remark,
    unpack::{Error, unpack},
};
use support::{END, OPTIONS, chain, header, member, pax, seal, unpack_bytes};

/// Unpacks in a directory beside a file that must stay as it is.
fn refused(members: &[Vec<u8>]) -> String {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "as before").unwrap();
    let inside = outside.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let archive = [members.concat(), END.to_vec()].concat();
    let error = unpack_bytes(&archive, &inside).expect_err("must be refused");
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"as before");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
    chain(&error)
}

#[test]
fn paths_that_lead_out() {
    assert_eq!(
        refused(&[member(b'0', b"/victim", b"", b"x")]),
        "unpack: member `/victim`: the path is absolute"
    );
    assert_eq!(
        refused(&[member(b'0', b"../victim", b"", b"x")]),
        "unpack: member `../victim`: the path has `..` in it"
    );
    assert!(refused(&[member(b'0', b"a/../../victim", b"", b"x")]).contains("`..`"));
    assert!(refused(&[member(b'5', b"../new/", b"", b"")]).contains("`..`"));
    assert!(
        refused(&[pax(&[("path", b"../victim")]), member(b'0', b"harmless", b"", b"x")]).contains("`..`")
    );
    assert!(
        refused(&[pax(&[("path", b"a\0b")]), member(b'0', b"harmless", b"", b"x")]).contains("zero byte")
    );
    assert!(refused(&[member(b'0', b"", b"", b"x")]).contains("empty"));
}

#[test]
fn through_a_link() {
    for target in [b"..".as_slice(), b"/etc", b".", b"directory"] {
        let through = refused(&[
            member(b'5', b"directory", b"", b""),
            member(b'2', b"link", target, b""),
            member(b'0', b"link/victim", b"", b"x"),
        ]);
        assert!(through.contains("would replace a symbolic link"), "{through}");
    }
    // The link becomes the target itself when the file of its name comes.
    let over = [member(b'2', b"link", b"../victim", b""), member(b'0', b"link", b"", b"mine"), END.to_vec()]
        .concat();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "as before").unwrap();
    let inside = outside.path().join("inside");
    fs::create_dir(&inside).unwrap();
    unpack_bytes(&over, &inside).unwrap();
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"as before");
    assert!(fs::symlink_metadata(inside.join("link")).unwrap().is_file());
}

#[test]
fn hard_links_that_lead_out() {
    assert!(refused(&[member(b'1', b"a", b"../victim", b"")]).contains("hard link to `../victim`"));
    assert!(refused(&[member(b'1', b"a", b"/etc/passwd", b"")]).contains("absolute"));
    assert!(refused(&[member(b'1', b"a", b"missing", b"")]).contains("not an earlier file"));
    assert!(refused(&[member(b'1', b"a", b".", b"")]).contains("hard link to `.`"));
    let through = [member(b'2', b"up", b"..", b""), member(b'1', b"a", b"up/victim", b"")];
    assert!(refused(&through).contains("not an earlier file"));
    let to_directory = [member(b'5', b"d", b"", b""), member(b'1', b"a", b"d", b"")];
    assert!(refused(&to_directory).contains("not an earlier file"));
}

#[test]
fn a_hard_link_to_itself_keeps_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let archive = [member(b'0', b"a", b"", b"x"), member(b'1', b"a", b"a", b""), END.to_vec()].concat();
    unpack_bytes(&archive, directory.path()).unwrap();
    assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"x");
}

#[test]
fn special_files() {
    for (kind, word) in [(b'3', "character device"), (b'4', "block device"), (b'6', "named pipe")] {
        assert!(
            refused(&[member(kind, b"special", b"", b"")])
                .ends_with(&format!("member `special` is a {word}"))
        );
        let directory = tempfile::tempdir().unwrap();
        let archive =
            [member(kind, b"special", b"", b""), member(b'0', b"a", b"", b"x"), END.to_vec()].concat();
        let mut reader = Reader::new(archive.as_slice(), Limits::default(), Special::Skip);
        let unpacked = unpack(&mut reader, &Root::open(directory.path()).unwrap(), OPTIONS).unwrap();
        assert_eq!(unpacked.entries, 1);
        assert_eq!(unpacked.notes.list[0].remark, Remark::Skipped(word));
        assert!(!directory.path().join("special").exists());
    }
    assert!(refused(&[member(b'S', b"holes", b"", b"")]).contains("is sparse"));
    let sparse = [pax(&[("GNU.sparse.major", b"1")]), member(b'0', b"holes", b"", b"x")];
    assert!(refused(&sparse).contains("is sparse"));
    assert!(refused(&[member(b'M', b"part", b"", b"")]).contains("unknown kind `M`"));
}

#[test]
fn kinds_that_clash() {
    let file_below_file = [member(b'0', b"a", b"", b"x"), member(b'0', b"a/b", b"", b"x")];
    assert!(refused(&file_below_file).contains("would replace a regular file"));
    let file_over_directory = [member(b'5', b"a", b"", b""), member(b'0', b"a", b"", b"x")];
    assert!(refused(&file_over_directory).contains("would replace a directory"));
    let directory_over_file = [member(b'0', b"a", b"", b"x"), member(b'5', b"a", b"", b"")];
    assert!(refused(&directory_over_file).contains("would replace a regular file"));
    for kind in [b'0', b'2'] {
        assert!(refused(&[member(kind, b".", b"x", b"")]).contains("whole tree and no directory"));
    }
}

#[test]
fn targets_and_extensions() {
    assert!(refused(&[member(b'2', b"a", b"", b"")]).contains("target is empty or too long"));
    assert!(refused(&[pax(&[("size", b"x")]), member(b'0', b"a", b"", b"")]).contains("malformed"));
    assert!(
        refused(&[pax(&[("uid", b"5")]), pax(&[("uid", b"6")]), member(b'0', b"a", b"", b"")])
            .contains("malformed")
    );
    assert!(refused(&[pax(&[("path", b"a")])]).contains("malformed"));
    assert!(refused(&[member(b'L', b"long", b"", &vec![b'x'; 2 << 20])]).contains("more than 1048576 bytes"));
    let longest = vec![b'x'; 256];
    assert!(refused(&[pax(&[("path", &longest)]), member(b'0', b"a", b"", b"")]).contains("more than 255"));
    let mut bad_mode = header(b'0', b"a", b"", 0);
    bad_mode[100..107].copy_from_slice(b"99999zz");
    seal(&mut bad_mode);
    assert!(refused(&[bad_mode.to_vec()]).contains("bad mode"));
}

#[test]
fn names_of_all_sorts_survive() {
    let directory = tempfile::tempdir().unwrap();
    let long = "é".repeat(127) + "x";
    let names: [&[u8]; 5] = [b"line\nbreak", b"\xff\xfe", long.as_bytes(), b"-rf *", b" "];
    let mut archive = Vec::new();
    for name in names {
        archive.extend(pax(&[("path", name)]));
        archive.extend(member(b'0', b"short", b"", b"x"));
    }
    archive.extend(END);
    assert_eq!(unpack_bytes(&archive, directory.path()).unwrap().entries, 5);
    for name in names {
        assert!(
            directory.path().join(std::ffi::OsStr::from_bytes(name)).is_file(),
            "{}",
            name.escape_ascii()
        );
    }
}

#[test]
fn gnu_long_names_and_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("./{}/{}", "d".repeat(200), "f".repeat(200));
    let mut root = header(b'5', b"./", b"", 0);
    root[100..107].copy_from_slice(b"0000751");
    seal(&mut root);
    let archive = [
        root.to_vec(),
        member(b'L', b"././@LongLink", b"", format!("{path}\0").as_bytes()),
        member(b'0', b"cut", b"", b"x"),
        END.to_vec(),
    ];
    assert_eq!(unpack_bytes(&archive.concat(), directory.path()).unwrap().entries, 1);
    assert!(directory.path().join(path).is_file());
    assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o751);
}

#[test]
fn our_own_directory_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let archive = [
        member(b'0', b".pyro-transaction/journal", b"", b"x"),
        member(b'0', b"below/.pyro-transaction", b"", b"x"),
        END.to_vec(),
    ];
    let unpacked = unpack_bytes(&archive.concat(), directory.path()).unwrap();
    assert_eq!((unpacked.entries, unpacked.notes.list.len()), (1, 1));
    assert!(!directory.path().join(".pyro-transaction").exists());
}

#[test]
fn members_below_a_read_only_directory_in_any_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut read_only = header(b'5', b"a/b", b"", 0);
    read_only[100..107].copy_from_slice(b"0000555");
    seal(&mut read_only);
    let archive = [
        read_only.to_vec(),
        member(b'0', b"elsewhere/x", b"", b"x"),
        member(b'0', b"a/b/late", b"", b"x"),
        member(b'0', b"elsewhere/y", b"", b"x"),
        END.to_vec(),
    ];
    unpack_bytes(&archive.concat(), directory.path()).unwrap();
    let metadata = fs::metadata(directory.path().join("a/b")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o555);
    assert_eq!(metadata.modified().unwrap(), std::time::UNIX_EPOCH + std::time::Duration::from_secs(1));
    assert!(directory.path().join("a/b/late").exists());
}

/// A stream of one member with as many zeros as one asks for.
fn zeros(size_bytes: u64) -> impl Read {
    io::Cursor::new(header(b'0', b"zeros", b"", size_bytes).to_vec())
        .chain(io::repeat(0).take(size_bytes + 1024))
}

#[test]
fn contents_are_limited_before_they_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { contents_bytes: 1 << 20, ..Limits::default() };
    let mut reader = Reader::new(zeros(7 << 30), limits, Special::Refuse);
    let error = unpack(&mut reader, &Root::open(directory.path()).unwrap(), OPTIONS).unwrap_err();
    assert!(matches!(error, Error::Archive(archive::Error::TooLarge { .. })), "{error:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    // What nobody asks for is skipped without being kept.
    let mut reader = Reader::new(zeros(64 << 20), Limits::default(), Special::Refuse);
    assert!(reader.next_member().unwrap().is_some());
    assert!(reader.next_member().unwrap().is_none());
}

#[test]
fn a_million_members() {
    struct Members(u32, [u8; 512]);
    impl Read for Members {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                ..=1_000_000 => buffer[..512].copy_from_slice(&self.1),
                1_000_001 => buffer[..512].fill(0),
                _ => return Ok(0),
            }
            Ok(512)
        }
    }
    let start = Instant::now();
    let mut reader =
        Reader::new(Members(0, header(b'0', b"one of many", b"", 0)), Limits::default(), Special::Refuse);
    let mut members = 0;
    while reader.next_member().unwrap().is_some() {
        members += 1;
    }
    assert_eq!(members, 1_000_000);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    let limits = Limits { headers: 9_999, ..Limits::default() };
    let mut reader = Reader::new(Members(0, header(b'0', b"one of many", b"", 0)), limits, Special::Refuse);
    let error = loop {
        match reader.next_member() {
            Ok(member) => assert!(member.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, archive::Error::TooManyHeaders { limit: 9_999 }));
}

#[test]
fn every_cut_is_an_error_and_every_flip_no_panic() {
    let whole = [
        pax(&[("path", b"a/b"), ("mtime", b"-1.5")]),
        member(b'0', b"b", b"", &[b'x'; 700]),
        member(b'2', b"l", b"../..", b""),
        member(b'1', b"h", b"a/b", b""),
        END.to_vec(),
    ]
    .concat();
    let directory = tempfile::tempdir().unwrap();
    let attempt = |bytes: &[u8], at: usize| {
        let target = directory.path().join(at.to_string());
        fs::create_dir(&target).unwrap();
        unpack_bytes(bytes, &target)
    };
    for length in (0..whole.len() - 1023).step_by(7) {
        assert!(attempt(&whole[..length], length).is_err(), "{length}");
    }
    for at in (0..whole.len()).step_by(3) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        let _any = attempt(&flipped, 10_000 + at).is_ok();
    }
    assert!(!Path::new("/victim").exists());
}
