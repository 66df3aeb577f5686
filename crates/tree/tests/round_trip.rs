//! What is packed comes out the same: random trees, GNU tar on either side, compressed archives, and trees that change
//! while they are read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;
use pyro_tree::{
    Attributes, RelativePath, Remark, Root, Time,
    archive::{Kind, Limits, Member, Reader, Special, Writer},
    compressed::decompressed,
    pack::{Packed, Packer},
    unpack::{Options, Owner, unpack},
    walk::{Everything, measure},
};
use support::{END, OPTIONS, describe, member, pax, unpack_bytes};

fn pack(directory: &Path) -> (Vec<u8>, Packed) {
    let mut writer = Writer::new(Vec::new());
    let root = Root::open(directory).unwrap();
    let mut packer = Packer::new(&root, &mut writer).unwrap();
    packer.append_tree(&RelativePath::root(), &mut Everything).unwrap();
    let packed = packer.finish();
    (writer.finish().unwrap(), packed)
}

#[derive(Clone, Debug)]
enum Node {
    Directory {
        mode: u32,
        children: Vec<(Vec<u8>, Node)>,
    },
    File {
        mode: u32,
        contents: Vec<u8>,
        seconds: i64,
        nanoseconds: u32,
    },
    Symlink(Vec<u8>),
    /// Another name of the file that was made the given number of files ago.
    HardLink(usize),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(1..=255_u8, 1..12),
        1 => proptest::collection::vec(b'a'..=b'z', 200..=255),
    ]
    .prop_filter("a name", |name| !name.contains(&b'/') && name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    // Owners may always look, so that the comparison needs no privilege.
    let mode = (0..0o10000_u32).prop_map(|mode| mode | 0o400);
    let contents = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (500..1100_usize).prop_map(|length| vec![b'x'; length]),
    ];
    let file = (mode.clone(), contents, -10_000..4_000_000_000_i64, 0..1_000_000_000_u32).prop_map(
        |(mode, contents, seconds, nanoseconds)| Node::File { mode, contents, seconds, nanoseconds },
    );
    let target = proptest::collection::vec(1..=255_u8, 1..300).prop_map(Node::Symlink);
    let leaf = prop_oneof![4 => file, 1 => target, 1 => (0..5_usize).prop_map(Node::HardLink)];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        (mode.clone(), proptest::collection::vec((name(), inner), 0..5))
            .prop_map(|(mode, children)| Node::Directory { mode: mode | 0o700, children })
    })
}

fn make(path: &Path, node: &Node, files: &mut Vec<std::path::PathBuf>) {
    match node {
        Node::Directory { mode, children } => {
            if fs::create_dir(path).is_err() {
                return;
            }
            for (name, child) in children {
                make(&path.join(std::ffi::OsStr::from_bytes(name)), child, files);
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::File { mode, contents, seconds, nanoseconds } => {
            let Ok(mut file) = fs::File::create_new(path) else { return };
            file.write_all(contents).unwrap();
            file.set_permissions(fs::Permissions::from_mode(*mode)).unwrap();
            drop(file);
            let parent = Root::open(path.parent().unwrap()).unwrap();
            let name = RelativePath::new(path.file_name().unwrap().as_bytes()).unwrap();
            parent.set_mtime(&name, Time { seconds: *seconds, nanoseconds: *nanoseconds }).unwrap();
            files.push(path.to_owned());
        }
        Node::Symlink(target) => drop(symlink(std::ffi::OsStr::from_bytes(target), path)),
        Node::HardLink(ago) => {
            if let Some(target) = files.iter().rev().nth(*ago) {
                drop(fs::hard_link(target, path));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree(children in proptest::collection::vec((name(), node()), 0..6)) {
        let source = tempfile::tempdir().unwrap();
        make(&source.path().join("top"), &Node::Directory { mode: 0o755, children }, &mut Vec::new());
        let target = tempfile::tempdir().unwrap();
        let (archive, packed) = pack(source.path());
        prop_assert!(packed.notes.is_empty(), "{:?}", packed.notes);
        let options = Options { owner: Owner::Keep, keep_set_id: true, asks_for_room: false };
        let mut reader = Reader::new(archive.as_slice(), Limits::default(), Special::Refuse);
        let unpacked = unpack(&mut reader, &Root::open(target.path()).unwrap(), options).unwrap();
        prop_assert_eq!(describe(source.path()), describe(target.path()));
        prop_assert_eq!(packed.entries, unpacked.entries + 1);
        prop_assert_eq!(packed.bytes, unpacked.bytes);
        let measured = measure(&Root::open(source.path()).unwrap(), &RelativePath::root(), &mut Everything);
        prop_assert_eq!(measured.entries, unpacked.entries);
        // Packed again it is the same archive.
        prop_assert!(pack(target.path()).0 == archive);
    }
}

/// A tree with what is hard for archives.
fn hard_tree(directory: &Path) {
    let write = |path: &str, text: &str| fs::write(directory.join(path), text).unwrap();
    fs::create_dir_all(directory.join("empty")).unwrap();
    fs::create_dir_all(directory.join("d".repeat(120)).join("e".repeat(120))).unwrap();
    write(&format!("{}/{}/{}", "d".repeat(120), "e".repeat(120), "f".repeat(255)), "deep");
    write("line\nbreak", "x");
    fs::write(directory.join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8")), "x").unwrap();
    write("run", "#!/bin/sh");
    fs::set_permissions(directory.join("run"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(directory.join("run"), directory.join("run-too")).unwrap();
    symlink("../../out/of/here", directory.join("climbing")).unwrap();
    symlink("x".repeat(300), directory.join("far")).unwrap();
    symlink(".", directory.join("loop")).unwrap();
}

#[test]
fn gnu_tar_reads_ours() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    hard_tree(source.path());
    let (archive, _) = pack(source.path());
    let mut tar = Command::new("tar")
        .args(["-xpf", "-", "-C"])
        .arg(target.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", output.stderr.escape_ascii());
    assert_eq!(describe(source.path()), describe(target.path()));
}

#[test]
fn we_read_what_gnu_tar_writes() {
    let source = tempfile::tempdir().unwrap();
    hard_tree(source.path());
    for format in ["pax", "gnu"] {
        let output = Command::new("tar")
            .args([&format!("--format={format}"), "-C"])
            .arg(source.path())
            .args(["-cf", "-", "."])
            .output()
            .unwrap();
        assert!(output.status.success());
        let target = tempfile::tempdir().unwrap();
        unpack_bytes(&output.stdout, target.path()).unwrap();
        let whole_seconds = |directory: &Path| -> Vec<_> {
            let seen = describe(directory);
            let cut = seen.into_iter().map(|(name, text)| {
                let (mode, rest) = text.split_once(' ').unwrap();
                let (seconds, rest) = rest.split_once('.').unwrap();
                (name, format!("{mode} {seconds} {}", &rest[9..]))
            });
            cut.collect()
        };
        if format == "pax" {
            assert_eq!(describe(source.path()), describe(target.path()));
        } else {
            assert_eq!(whole_seconds(source.path()), whole_seconds(target.path()));
        }
    }
}

#[test]
fn sockets_and_pipes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(directory.path().join("pipe")).status().unwrap().success());
    fs::write(directory.path().join("file"), "x").unwrap();
    fs::create_dir(directory.path().join(".pyro-transaction")).unwrap();
    let (_, packed) = pack(directory.path());
    assert_eq!(packed.entries, 2);
    let notes: Vec<_> = packed.notes.list.iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["`pipe` left out, it is a named pipe", "`socket` left out, it is a socket"]);
}

#[test]
fn one_path_and_one_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    fs::write(directory.path().join("d/file"), "x").unwrap();
    symlink("d", directory.path().join("link")).unwrap();
    let mut writer = Writer::new(Vec::new());
    let mut packer = Packer::new(&Root::open(directory.path()).unwrap(), &mut writer).unwrap();
    for path in ["d/file", "missing", "link/file"] {
        packer.append_tree(&RelativePath::new(path).unwrap(), &mut Everything).unwrap();
    }
    let packed = packer.finish();
    assert_eq!((packed.entries, packed.notes.list.len()), (1, 2), "{:?}", packed.notes);
}

/// Truncates, lengthens or replaces the file in the moment its header is written.
struct Meddler<'a> {
    archive: Vec<u8>,
    meddle: Option<Box<dyn FnOnce() + 'a>>,
}

impl io::Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.archive.extend_from_slice(bytes);
        if bytes.starts_with(b"file\0")
            && let Some(meddle) = self.meddle.take()
        {
            meddle();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn files_that_change_while_they_are_read() {
    for new_length in [0, 3000, 5000, 9000] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, vec![b'x'; 5000]).unwrap();
        fs::write(directory.path().join("next"), "y").unwrap();
        let meddle = || fs::write(&file, vec![b'z'; new_length]).unwrap();
        let mut writer = Writer::new(Meddler { archive: Vec::new(), meddle: Some(Box::new(meddle)) });
        let mut packer = Packer::new(&Root::open(directory.path()).unwrap(), &mut writer).unwrap();
        packer.append_tree(&RelativePath::root(), &mut Everything).unwrap();
        let packed = packer.finish();
        assert_eq!(packed.notes.list.len(), 1, "{new_length}");
        assert_eq!(packed.notes.list[0].remark, Remark::ChangedWhileRead);
        let archive = writer.finish().unwrap().archive;
        let target = tempfile::tempdir().unwrap();
        unpack_bytes(&archive, target.path()).unwrap();
        assert_eq!(fs::metadata(target.path().join("file")).unwrap().len(), 5000);
        assert_eq!(fs::read(target.path().join("next")).unwrap(), b"y");
    }
}

#[test]
fn a_file_of_nine_gigabytes() {
    let size_bytes = 9 << 30;
    let attributes =
        Attributes { mode: 0o644, uid: 1 << 30, gid: 5, mtime: Time { seconds: -1, nanoseconds: 1 } };
    let member =
        Member { path: RelativePath::new("big").unwrap(), kind: Kind::File { size_bytes }, attributes };
    /// Keeps what comes first.
    struct Head(Vec<u8>);
    impl io::Write for Head {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() < 4096 {
                self.0.extend_from_slice(&bytes[..bytes.len().min(4096)]);
                Ok(bytes.len())
            } else {
                Err(io::Error::other("enough"))
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut head = Head(Vec::new());
    assert!(Writer::new(&mut head).append_file(&member, &mut io::repeat(7), &mut |_| {}).is_err());
    let mut reader = Reader::new(head.0.as_slice(), Limits::default(), Special::Refuse);
    assert_eq!(reader.next_member().unwrap(), Some(member));
}

fn command_output(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    output.stdout
}

#[test]
fn compressed_archives_by_their_contents() {
    let source = tempfile::tempdir().unwrap();
    hard_tree(source.path());
    let (archive, _) = pack(source.path());
    let gzip = command_output("gzip", &["-c"], &archive);
    let frame =
        ruzstd::encoding::compress_to_vec(archive.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let half = archive.len() / 2;
    let compress =
        |part: &[u8]| ruzstd::encoding::compress_to_vec(part, ruzstd::encoding::CompressionLevel::Fastest);
    let frames =
        [&compress(&archive[..half])[..], b"\x50\x2a\x4d\x18\x03\0\0\0xyz", &compress(&archive[half..])]
            .concat();
    for bytes in [&archive, &gzip, &frame, &frames, &[&gzip[..], &gzip].concat()] {
        let target = tempfile::tempdir().unwrap();
        let mut reader =
            Reader::new(decompressed(bytes.as_slice()).unwrap(), Limits::default(), Special::Refuse);
        unpack(&mut reader, &Root::open(target.path()).unwrap(), OPTIONS).unwrap();
        reader.finish().unwrap();
        assert_eq!(describe(source.path()), describe(target.path()));
    }
    for (name, bytes) in [("gzip", &gzip), ("zstd", &frame)] {
        for length in [1, 5, 20, bytes.len() / 2, bytes.len() - 1] {
            let read =
                decompressed(&bytes[..length]).and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
            assert!(read.is_err() || length < 6, "{name} cut at {length}");
        }
        let mut flipped = bytes.clone();
        let last = flipped.len() - 2;
        flipped[last] ^= 0xff;
        let mut decoder = decompressed(flipped.as_slice()).unwrap();
        let checked = decoder.read_to_end(&mut Vec::new());
        assert!(checked.is_err(), "{name} with a wrong end");
    }
    let error = decompressed(b"BZh91AY".as_slice()).err().unwrap();
    assert_eq!(error.to_string(), "bzip2 archives are not supported; decompress it first");
}

#[test]
fn a_bomb_of_zeros_stops_at_the_limit() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let size = 7_u64 << 30;
    let header = support::header(b'0', b"zeros", b"", size);
    bomb.write_all(&header).unwrap();
    io::copy(&mut io::repeat(0).take(64 << 20), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { contents_bytes: 1 << 30, ..Limits::default() };
    let mut reader = Reader::new(decompressed(bomb.as_slice()).unwrap(), limits, Special::Refuse);
    let error = unpack(&mut reader, &Root::open(directory.path()).unwrap(), OPTIONS).unwrap_err();
    assert!(support::chain(&error).contains("more than 1073741824 bytes"), "{error:?}");
}

#[test]
fn restreamed_member_by_member() {
    let source = [
        pax(&[("path", b"long\nname")]),
        member(b'0', b"x", b"", b"contents"),
        member(b'2', b"link", b"../..", b""),
        member(b'5', b"directory", b"", b""),
        END.to_vec(),
    ]
    .concat();
    let mut reader = Reader::new(source.as_slice(), Limits::default(), Special::Refuse);
    let mut writer = Writer::new(Vec::new());
    while let Some(member) = reader.next_member().unwrap() {
        writer.append_file(&member, &mut reader, &mut |error| panic!("{error}")).unwrap();
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    unpack_bytes(&source, one.path()).unwrap();
    unpack_bytes(&writer.finish().unwrap(), two.path()).unwrap();
    let mut described = [describe(one.path()), describe(two.path())];
    // The root is no member.
    described.iter_mut().for_each(|tree| drop(tree.remove(b"".as_slice())));
    assert_eq!(described[0], described[1]);
}
