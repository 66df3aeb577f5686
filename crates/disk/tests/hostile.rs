//! Damaged disks give answers or errors, soon, and nothing else.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use pyro_disk::{ArchiveLimits, Disk, Error, ListLimits, Root};
use support::{Machine, debugfs, ext4, qcow2, raw, run, tool, write};

/// Disks without checksums, so that damage gets as far as it can: image, disk, the disk as qcow2, all small.
static DISKS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let machine = Machine::new(|image, disk| {
        write(image, &[("etc/a", "a"), ("etc/b/c", "c"), ("workspace/", "")]);
        write(disk, &[("upper/etc/a", "b"), ("upper/etc/d", "d"), ("work/index/", ""), ("tmp/t", "")]);
        write(
            disk,
            &[("workspace/seed/s/x", "x"), ("workspace/upper/r/y", "y"), ("workspace/state/seeded", "")],
        );
        std::os::unix::fs::symlink("s/x", disk.join("workspace/seed/link")).unwrap();
        std::os::unix::fs::symlink("x".repeat(100), disk.join("workspace/seed/long")).unwrap();
        for number in 0..40 {
            write(&disk.join("workspace/seed/many"), &[(&format!("{number}-{}", "n".repeat(40)), "")]);
        }
    });
    let rebuilt = |image: &Path, tree: &str| {
        fs::remove_file(image).unwrap();
        ext4(
            image,
            2,
            &["-b", "1024", "-O", "^metadata_csum,^64bit,^resize_inode", "-N", "128"],
            &machine.path(tree),
        );
    };
    rebuilt(&machine.image(), "image");
    rebuilt(&machine.disk(), "disk");
    let new = machine.path("new");
    fs::write(&new, [b'n'; 1024]).unwrap();
    machine.attribute("/workspace/upper/r", "trusted.overlay.redirect", "s");
    debugfs(&machine.disk(), &["jo", &format!("jw -b 900 {}", new.display()), "jw -r 900,901", "jc"]);
    let packed = machine.path("packed");
    let mut command = tool("qemu-img");
    command.args(["convert", "-O", "qcow2", "-o", "cluster_size=512"]).arg(machine.disk());
    run(command.arg(&packed));
    [machine.image(), machine.disk(), packed].map(|path| fs::read(path).unwrap())
});

/// Does everything there is to do.
fn everything(image: Disk, disk: Disk) -> Result<(), Error> {
    disk.write_raw(&tempfile::tempfile().unwrap(), u64::MAX, &mut |_| Ok(()))?;
    let root = Root::open(image, disk)?;
    let listing = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 10_000 });
    for entry in listing.iter().flat_map(|listing| &listing.entries) {
        drop(root.read(&entry.path, 0, 1 << 16));
        drop(root.read(&entry.path, entry.metadata.size_bytes.saturating_sub(10), 100));
    }
    root.write_tar(&mut io::sink(), &ArchiveLimits { members: 10_000, content_bytes: 1 << 24 })?;
    Ok(())
}

/// Where damage tends to matter: superblock, descriptors, and the tables behind them.
fn places(length: usize) -> impl Strategy<Value = usize> {
    prop_oneof![0..length, 1024..2048_usize, 0..40_000.min(length), 0..4096_usize]
}

fn damage() -> impl Strategy<Value = Vec<(usize, u8)>> {
    vec((places(2 << 20), any::<u8>()), 1..60)
}

fn damaged(bytes: &[u8], damage: &[(usize, u8)], path: &Path) {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    for (at, value) in damage {
        bytes[at % length] = *value;
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_system_is_read_or_refused(damage in damage(), which in 0..2_usize) {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["image", "disk"].map(|name| directory.path().join(name));
        for (at, path) in paths.iter().enumerate() {
            damaged(&DISKS[at], if at == which { &damage } else { &[] }, path);
        }
        let [image, disk] = paths.map(|path| Disk::open_raw(&path).unwrap());
        drop(everything(image, disk));
    }

    #[test]
    fn a_damaged_layer_is_read_or_refused(damage in damage()) {
        let directory = tempfile::tempdir().unwrap();
        let [image, base, top] = ["image", "base", "top"].map(|name| directory.path().join(name));
        damaged(&DISKS[0], &[], &image);
        damaged(&DISKS[1], &[], &base);
        damaged(&DISKS[2], &damage, &top);
        if let Ok(disk) = Disk::open(&[raw(&base), qcow2(&top)])
            // What is written out is bounded by the disk's size, which damage may have made large.
            && disk.size_bytes() < 64 << 20
        {
            drop(everything(Disk::open_raw(&image).unwrap(), disk));
        }
    }

    #[test]
    fn noise_is_refused(bytes in vec(any::<u8>(), 0..5000)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("noise");
        fs::write(&path, bytes).unwrap();
        let open = || Disk::open_raw(&path).unwrap();
        prop_assert!(Root::open(open(), open()).is_err());
        prop_assert!(Disk::open(&[qcow2(&path)]).is_err());
    }
}

#[test]
fn whole_disks_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let [image, base, top] = ["image", "base", "top"].map(|name| directory.path().join(name));
    for (path, bytes) in [&image, &base, &top].into_iter().zip(DISKS.iter()) {
        fs::write(path, bytes).unwrap();
    }
    everything(Disk::open_raw(&image).unwrap(), Disk::open_raw(&base).unwrap()).unwrap();
    everything(Disk::open_raw(&image).unwrap(), Disk::open(&[raw(&base), qcow2(&top)]).unwrap()).unwrap();
}

#[test]
fn a_disk_cut_short_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    for length in [0, 1000, 1500, 3000, 10_000, 100_000] {
        fs::write(&path, &DISKS[1][..length]).unwrap();
        let open = || Disk::open_raw(&path).unwrap();
        assert!(everything(open(), open()).is_err(), "{length}");
    }
}

#[test]
fn an_image_that_is_cut_after_it_was_opened_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    fs::write(&path, &DISKS[1]).unwrap();
    let [image, disk] = [(), ()].map(|()| Disk::open_raw(&path).unwrap());
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    let refused = Root::open(image, disk).unwrap_err();
    assert!(matches!(refused, Error::Read { .. }), "{refused}");
}
