//! Files of an ext4, against what was put into it and against another reader.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use pyro_disk::{Disk, Error, Follow, Kind, ListLimits, Root};
use support::{Machine, debugfs, run, tool, write};

/// One of everything that an ordinary user can make.
fn fill(tree: &Path) {
    write(tree, &[("small", "content"), ("empty", ""), ("d/e/f/deep", "deep"), ("bare/", "")]);
    fs::write(tree.join("large"), (0..600_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    fs::write(tree.join("d").join("x".repeat(255)), "long name").unwrap();
    fs::write(tree.join(std::ffi::OsStr::from_bytes(b"\xff\n\x1b")), "odd name").unwrap();
    symlink("small", tree.join("link")).unwrap();
    symlink("l".repeat(59), tree.join("link59")).unwrap();
    symlink("l".repeat(60), tree.join("link60")).unwrap();
    symlink("l".repeat(1000), tree.join("link1000")).unwrap();
    fs::hard_link(tree.join("small"), tree.join("d/other-name")).unwrap();
    run(tool("mkfifo").arg(tree.join("fifo")));
    fs::set_permissions(tree.join("small"), fs::Permissions::from_mode(0o4751)).unwrap();
    // Every second block is a hole: more extents than fit into an inode, and into one block behind it.
    let holes = File::create(tree.join("holes")).unwrap();
    for block in 0..1500_u64 {
        holes.write_all_at(&block.to_le_bytes(), block * 8192).unwrap();
    }
    holes.set_len(13_000_000).unwrap();
}

fn is_as_in(root: &Root, tree: &Path) {
    let listing = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 10_000 }).unwrap();
    let mut seen = 0;
    for entry in &listing.entries {
        let path = tree.join(std::ffi::OsStr::from_bytes(&entry.path[1..]));
        if entry.path.starts_with(b"/lost+found") {
            continue;
        }
        seen += 1;
        let (found, expected) = (&entry.metadata, path.symlink_metadata().unwrap());
        assert_eq!(u32::from(found.mode), expected.mode() & 0o7777, "{path:?}");
        assert_eq!((found.uid, found.gid), (expected.uid(), expected.gid()), "{path:?}");
        let kind = expected.file_type();
        assert_eq!(found.kind == Kind::Directory, kind.is_dir(), "{path:?}");
        if kind.is_file() {
            assert_eq!(found.size_bytes, expected.len(), "{path:?}");
            assert_eq!(u64::from(found.links), expected.nlink(), "{path:?}");
            let content = root.read(&entry.path, 0, usize::MAX).unwrap();
            assert!(content.bytes == fs::read(&path).unwrap(), "{path:?}");
        }
        if kind.is_symlink() {
            let target = entry.link_target.clone().unwrap();
            assert_eq!(target, path.read_link().unwrap().as_os_str().as_bytes(), "{path:?}");
        }
        if kind.is_file() {
            // `mke2fs` writes whole seconds.
            assert_eq!(found.mtime_s, expected.mtime(), "{path:?}");
        }
    }
    assert_eq!(seen, run(tool("find").arg(tree).args(["-printf", "x\\n"])).lines().count() - 1);
}

#[test]
fn what_was_put_in_comes_out_of_every_kind_of_ext4() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let kinds: [&[&str]; 6] = [
        &[],
        &["-b", "1024"],
        &["-O", "metadata_csum,64bit", "-I", "256"],
        &["-b", "2048", "-O", "^metadata_csum,^64bit"],
        &["-b", "1024", "-I", "128", "-O", "^has_journal"],
        &["-b", "4096", "-O", "^flex_bg"],
    ];
    for options in kinds {
        let machine = Machine::of_image(64, options, directory.path());
        is_as_in(&machine.root(), directory.path());
    }
}

#[test]
fn another_reader_sees_the_same() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let machine = Machine::of_image(64, &[], directory.path());
    let root = machine.root();
    let other = ext4_view::Ext4::load_from_path(machine.image()).unwrap();
    let entries =
        root.list(b"/", &ListLimits { after: None, recursive: true, entries: 10_000 }).unwrap().entries;
    for entry in entries {
        let path = ext4_view::Path::try_from(entry.path.as_slice()).unwrap();
        let theirs = other.symlink_metadata(path).unwrap();
        let ours = &entry.metadata;
        assert_eq!((ours.mode, ours.uid, ours.gid), (theirs.mode(), theirs.uid(), theirs.gid()));
        assert_eq!(
            (ours.mtime_s, ours.mtime_ns),
            (theirs.modified().seconds(), theirs.modified().nanoseconds())
        );
        if ours.kind == Kind::File {
            assert!(root.read(&entry.path, 0, usize::MAX).unwrap().bytes == other.read(path).unwrap());
        }
    }
}

#[test]
fn times_have_all_their_bits() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[("file", "")]);
    let machine = Machine::of_image(16, &[], directory.path());
    debugfs(&machine.image(), &["sif file mtime @0xfffffffe", "sif file mtime_extra 0x77359401"]);
    let metadata = machine.root().metadata(b"/file", Follow::Last).unwrap();
    assert_eq!((metadata.mtime_s, metadata.mtime_ns), ((1 << 32) - 2, 500_000_000));
}

#[test]
fn devices_have_their_numbers() {
    let machine = Machine::of_image(16, &[], tempfile::tempdir().unwrap().path());
    // The program writes only the old form of numbers; the second device gets the kernel's new one.
    let many = ["mknod many b 8 1", "sif many block[0] 0", "sif many block[1] 0x11110370"];
    debugfs(&machine.image(), &[&["mknod null c 1 3"], &many[..]].concat());
    let root = machine.root();
    let device = |path: &str| {
        let metadata = root.metadata(path.as_bytes(), Follow::Last).unwrap();
        (metadata.kind, metadata.device)
    };
    assert_eq!(device("/null"), (Kind::CharacterDevice, (1, 3)));
    assert_eq!(device("/many"), (Kind::BlockDevice, (259, 70000)));
}

#[test]
fn a_directory_with_hashes_shows_every_name() {
    let directory = tempfile::tempdir().unwrap();
    // Each name once: the reader must not take what the tree of hashes stands in for a name.
    for number in 0..4000 {
        fs::write(directory.path().join(format!("{number}-{}", "n".repeat(60))), "").unwrap();
    }
    for options in
        [&["-b", "1024", "-N", "5000"][..], &["-N", "5000"], &["-N", "5000", "-O", "^metadata_csum"]]
    {
        let machine = Machine::of_image(32, options, directory.path());
        // 1: it was repaired, which is what makes the hashes.
        let status = tool("e2fsck").args(["-fyD"]).arg(machine.image()).output().unwrap().status;
        assert!(matches!(status.code(), Some(0 | 1)));
        let root = machine.root();
        let listing =
            root.list(b"/", &ListLimits { after: None, recursive: false, entries: 10_000 }).unwrap();
        assert_eq!(listing.entries.len(), 4001, "with lost+found");
        let name = format!("/3999-{}", "n".repeat(60));
        assert!(root.metadata(name.as_bytes(), Follow::Last).is_ok());
        assert!(matches!(root.metadata(b"/4000", Follow::Last), Err(Error::NotFound { .. })));
    }
}

#[test]
fn any_part_of_a_file_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let machine = Machine::of_image(64, &[], directory.path());
    let root = machine.root();
    let content = root.read(b"/large", 1_000_001, 11).unwrap();
    assert_eq!(content.metadata.size_bytes, 2_400_000);
    assert_eq!(content.bytes, fs::read(directory.path().join("large")).unwrap()[1_000_001..1_000_012]);
    assert_eq!(root.read(b"/large", 2_399_999, 100).unwrap().bytes.len(), 1);
    assert_eq!(root.read(b"/large", u64::MAX, 100).unwrap().bytes.len(), 0);
    for (path, what) in [("/d", "directory"), ("/fifo", "pipe")] {
        assert!(matches!(root.read(path.as_bytes(), 0, 1), Err(Error::NotAFile { .. })), "{what}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), vec![1; 100_000]).unwrap();
    let machine = Machine::of_image(16, &["-O", "^extent,^64bit"], directory.path());
    let error = machine.try_root().and_then(|root| root.read(b"/file", 0, 1)).unwrap_err();
    assert!(error.to_string().contains("lists of blocks"), "{error}");
    let machine = Machine::of_image(16, &["-O", "inline_data"], directory.path());
    let error = machine.try_root().unwrap_err();
    assert!(
        matches!(error, Error::Unsupported { .. }) && error.to_string().contains("data in inodes"),
        "{error}"
    );
    let empty = machine.path("empty");
    File::create(&empty).unwrap().set_len(1 << 20).unwrap();
    let disk = Disk::open_raw(&empty).unwrap();
    assert!(matches!(Root::open(disk, Disk::open_raw(&empty).unwrap()), Err(Error::Corrupt { .. })));
}
