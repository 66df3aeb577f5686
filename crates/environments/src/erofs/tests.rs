//! What is written is what another reader finds, damaged or not.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use pyro_disk::{ArchiveLimits, Disk, Error, Follow, Kind, ListLimits, Metadata, Root};
use tar::{EntryType, Header};

use super::write_image;
use crate::{Cancellation, digest::sha256_of, rootfs::archive::Archive};

struct Written {
    directory: tempfile::TempDir,
}

fn member(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: EntryType, content: &[u8], link: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(if kind == EntryType::Directory { 0o1755 } else { 0o4644 });
    header.set_uid(70_000);
    header.set_gid(80_000);
    header.set_mtime(1_600_000_000);
    if kind == EntryType::Char {
        header.set_device_major(259).unwrap();
        header.set_device_minor(70_000).unwrap();
    }
    if link.is_empty() {
        builder.append_data(&mut header, path, content).unwrap();
    } else {
        builder.append_link(&mut header, path, link).unwrap();
    }
}

fn large() -> Vec<u8> {
    (0..50_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// An image with one of everything, and an empty writable disk.
fn written() -> Written {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    member(&mut builder, "d/", EntryType::Directory, b"", "");
    for (path, content) in
        [("small", &b"content"[..]), ("empty", b""), ("d/large", &large()), ("d/block", &[7; 4096])]
    {
        member(&mut builder, path, EntryType::Regular, content, "");
    }
    builder.append_pax_extensions([("SCHILY.xattr.security.capability", &b"\x01\0\xff"[..])]).unwrap();
    member(&mut builder, "capable", EntryType::Regular, b"c", "");
    member(&mut builder, "link", EntryType::Symlink, b"", "d/large");
    member(&mut builder, "long", EntryType::Symlink, b"", &"l".repeat(3000));
    member(&mut builder, "same", EntryType::Link, b"", "small");
    member(&mut builder, "device", EntryType::Char, b"", "");
    member(&mut builder, "fifo", EntryType::Fifo, b"", "");
    for number in 0..100 {
        member(&mut builder, &format!("many/{number:03}-{}", "n".repeat(60)), EntryType::Regular, b"x", "");
    }
    let archive = directory.path().join("archive.tar");
    std::fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    let archive = Archive::open(&archive, &Cancellation::new().unwrap()).unwrap();
    let seed = sha256_of(b"seed");
    write_image(&archive, &directory.path().join("image"), &seed, &Cancellation::new().unwrap(), |_share| {})
        .unwrap();
    let disk = directory.path().join("disk");
    let formatted = std::process::Command::new("mke2fs")
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .args(["-q", "-F", "-t", "ext4"])
        .arg(&disk)
        .arg("8M")
        .status()
        .unwrap();
    assert!(formatted.success());
    Written { directory }
}

impl Written {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self, image: &Path) -> Result<Root, Error> {
        Root::open(Disk::open_raw(image)?, Disk::open_raw(&self.path("disk"))?)
    }
}

#[test]
fn a_reader_finds_what_the_archive_had() {
    let written = written();
    let root = written.open(&written.path("image")).unwrap();
    let listing = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 1000 }).unwrap();
    assert_eq!(listing.entries.len(), 100 + 12);
    let metadata = |path: &str| root.metadata(path.as_bytes(), Follow::NotLast).unwrap();
    let content = |path: &str| root.read(path.as_bytes(), 0, 1 << 20).unwrap().bytes;
    assert_eq!(content("/small"), b"content");
    assert_eq!(content("/empty"), b"");
    assert_eq!(content("/d/block"), [7; 4096]);
    assert!(content("/link") == large());
    assert_eq!(root.read(b"/d/large", 150_001, 9).unwrap().bytes, large()[150_001..150_010]);
    assert_eq!(metadata("/same"), metadata("/small"));
    let small = metadata("/small");
    assert_eq!((small.mode, small.uid, small.gid, small.links), (0o4644, 70_000, 80_000, 2));
    assert_eq!(
        (small.mtime_s, metadata("/d").mode, metadata("/d").kind),
        (1_600_000_000, 0o1755, Kind::Directory)
    );
    assert_eq!(
        (metadata("/device").kind, metadata("/device").device),
        (Kind::CharacterDevice, (259, 70_000))
    );
    assert_eq!(metadata("/fifo").kind, Kind::Fifo);
    let long = listing.entries.iter().find(|entry| entry.path == b"/long").unwrap();
    assert_eq!(long.link_target.as_ref().unwrap().len(), 3000);
}

#[test]
fn an_export_can_be_imported() {
    let written = written();
    let root = written.open(&written.path("image")).unwrap();
    let mut exported = std::fs::File::create(written.path("exported.tar")).unwrap();
    let limits = ArchiveLimits { members: 1000, content_bytes: 1 << 20 };
    root.write_tar(&mut exported, &limits).unwrap();
    exported.flush().unwrap();
    let archive = Archive::open(&written.path("exported.tar"), &Cancellation::new().unwrap()).unwrap();
    let again = written.path("again");
    write_image(&archive, &again, &sha256_of(b"seed"), &Cancellation::new().unwrap(), |_share| {}).unwrap();
    let list = |image: &Path| {
        let listing = written
            .open(image)
            .unwrap()
            .list(b"/", &ListLimits { after: None, recursive: true, entries: 1000 });
        let entries = listing.unwrap().entries.into_iter();
        // Numbers of inodes are given anew.
        entries
            .map(|entry| (entry.path, Metadata { inode: 0, ..entry.metadata }, entry.link_target))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&again), list(&written.path("image")));
    let bytes = std::fs::read(&again).unwrap();
    assert!(bytes.windows(10).any(|window| window == b"capability"));
}

#[test]
fn an_impossible_superblock_is_named() {
    let written = written();
    let image = written.path("image");
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    // The size of its blocks, as a power of two.
    file.write_all_at(&[0xff], 1024 + 12).unwrap();
    let refused = written.open(&image).unwrap_err();
    assert!(matches!(refused, Error::Erofs { .. }), "{refused}");
}

#[test]
fn a_damaged_image_is_read_or_refused() {
    let written = written();
    let bytes = std::fs::read(written.path("image")).unwrap();
    let damaged = written.path("damaged");
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _round in 0..300 {
        std::fs::write(&damaged, &bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&damaged).unwrap();
        for _byte in 0..1 + next(30) {
            // Superblock, the inodes behind it, or anywhere.
            let end = [2048, 20_000, bytes.len() as u64][next(3) as usize];
            file.write_all_at(&[next(256) as u8], next(end)).unwrap();
        }
        let Ok(root) = written.open(&damaged) else { continue };
        let listing = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 2000 });
        for entry in listing.iter().flat_map(|listing| &listing.entries) {
            drop(root.read(&entry.path, 0, 4096));
            drop(root.read(&entry.path, entry.metadata.size_bytes.saturating_sub(10), 100));
        }
        drop(root.write_tar(&mut std::io::sink(), &ArchiveLimits { members: 2000, content_bytes: 1 << 24 }));
    }
}
