//! The tree as an archive, read by others.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, symlink};

use pyro_disk::{ArchiveLimits, Archived, Error};
use support::{Machine, debugfs, run, tool, write};

const LIMITS: ArchiveLimits = ArchiveLimits { members: 1000, content_bytes: 1 << 20 };

fn machine() -> Machine {
    let machine = Machine::new(|image, disk| {
        write(image, &[("etc/below", "below"), ("etc/changed", "old"), ("bin/tool", "tool")]);
        fs::hard_link(image.join("bin/tool"), image.join("bin/same")).unwrap();
        write(disk, &[("upper/etc/changed", "new"), ("tmp/t", "t"), ("workspace/state/seeded", "")]);
        write(disk, &[("workspace/seed/s", "seed"), ("workspace/upper/u", "upper")]);
        let long = "l".repeat(90);
        write(disk, &[(&format!("workspace/upper/{long}/{long}/file"), "far")]);
        symlink("t".repeat(150), disk.join("workspace/upper/link")).unwrap();
        run(tool("python3")
            .arg("-c")
            .arg("import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])")
            .arg(disk.join("workspace/upper/socket")));
    });
    machine.attribute("/upper/etc/changed", "user.note", "kept");
    machine.attribute("/upper/etc/changed", "trusted.other", "dropped");
    machine.attribute("/upper/etc", "trusted.overlay.origin", "dropped");
    debugfs(
        &machine.disk(),
        &["cd /upper/etc", "mknod null c 1 3", "sif changed uid 3000000", "sif changed mode 0104755"],
    );
    machine
}

fn archive(machine: &Machine) -> (Vec<u8>, Archived) {
    let mut archive = Vec::new();
    let archived = machine.root().write_tar(&mut archive, &LIMITS).unwrap();
    (archive, archived)
}

#[test]
fn an_archive_holds_what_the_machine_had() {
    let machine = machine();
    let (bytes, archived) = archive(&machine);
    assert_eq!(archived.left_out, 1);
    let mut reader = tar::Archive::new(bytes.as_slice());
    let mut members = BTreeMap::new();
    let mut attributes = Vec::new();
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            if extension.key().unwrap().starts_with("SCHILY") {
                attributes.push((extension.key().unwrap().to_owned(), extension.value().unwrap().to_owned()));
            }
        }
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        members.insert(path, (entry.header().clone(), content, link));
    }
    assert_eq!(members.len() as u64, archived.members);
    let content = |path: &str| members[path].1.as_str();
    assert_eq!(content("etc/changed"), "new");
    assert_eq!(content("etc/below"), "below");
    assert_eq!(content("workspace/s"), "seed");
    assert_eq!(content("workspace/u"), "upper");
    assert_eq!(content("tmp/t"), "t");
    let long = "l".repeat(90);
    assert_eq!(content(&format!("workspace/{long}/{long}/file")), "far");
    assert_eq!(members["workspace/link"].2.as_deref(), Some("t".repeat(150).as_str()));
    assert_eq!(members["bin/tool"].2.as_deref(), Some("bin/same"));
    let changed = &members["etc/changed"].0;
    assert_eq!((changed.uid().unwrap(), changed.mode().unwrap()), (3_000_000, 0o4755));
    let null = &members["etc/null"].0;
    assert_eq!((null.device_major().unwrap(), null.device_minor().unwrap()), (Some(1), Some(3)));
    assert!(members.contains_key("./") && members.contains_key("workspace/"));
    assert_eq!(attributes, [("SCHILY.xattr.user.note".to_owned(), "kept".to_owned())]);
}

#[test]
fn tar_unpacks_it() {
    let machine = machine();
    let (path, unpacked) = (machine.path("archive.tar"), machine.path("unpacked"));
    fs::write(&path, archive(&machine).0).unwrap();
    fs::create_dir(&unpacked).unwrap();
    // An ordinary user makes no devices and gives nothing away.
    run(tool("tar")
        .args(["--no-same-owner", "--exclude=etc/null", "-xf"])
        .arg(&path)
        .arg("-C")
        .arg(&unpacked));
    assert_eq!(fs::read_to_string(unpacked.join("etc/changed")).unwrap(), "new");
    let inode = |name: &str| unpacked.join(name).metadata().unwrap().ino();
    assert_eq!(inode("bin/tool"), inode("bin/same"));
    assert_eq!(unpacked.join("workspace/link").read_link().unwrap().as_os_str().len(), 150);
}

#[test]
fn limits_are_kept() {
    let machine = machine();
    let root = machine.root();
    let write = |limits| root.write_tar(&mut std::io::sink(), &limits);
    let Archived { members, content_bytes, .. } = write(LIMITS).unwrap();
    assert!(write(ArchiveLimits { members, content_bytes }).is_ok());
    for limits in [
        ArchiveLimits { members: members - 1, content_bytes },
        ArchiveLimits { members, content_bytes: content_bytes - 1 },
    ] {
        assert!(matches!(write(limits), Err(Error::TooMuch { .. })));
    }
}

#[test]
fn a_reader_that_goes_away_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(machine().root().write_tar(&mut Full, &LIMITS), Err(Error::Write { .. })));
}
