//! The disk of a machine that does not run, as whoever escaped from one could have left it. The input is a list of changes,
//! a place and a byte each, to an image that is made once: what holds checksums would refuse nearly every other input.
#![no_main]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pyro_disk::{ArchiveLimits, Disk, Format, Layer, ListLimits, Root};

/// The writable disk as a raw and as a qcow2 image.
static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let directory = scratch("images");
    let tree = directory.join("tree");
    for path in ["upper/etc/a", "work/index/b", "workspace/seed/d/c", "workspace/upper/e/f", "workspace/state/seeded"] {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, "content").expect("a file");
    }
    let [disk, packed] = ["disk", "packed"].map(|name| directory.join(name));
    let mut format = Command::new("mke2fs");
    format.args(["-q", "-F", "-t", "ext4", "-b", "1024", "-N", "64", "-O", "^metadata_csum,^resize_inode", "-d"]);
    run(format.arg(&tree).arg(&disk).arg("2M"));
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-O", "qcow2", "-o", "cluster_size=512"]);
    run(convert.arg(&disk).arg(&packed));
    [disk, packed].map(|path| fs::read(path).expect("an image"))
});

fn run(command: &mut Command) {
    assert!(command.status().expect("a program of the host").success());
}

fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("pyro-fuzz-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// Changes the image at places of three bytes by the byte behind them, and writes it.
fn damaged(bytes: &[u8], changes: &[u8], path: &Path) {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    for change in changes.chunks_exact(4) {
        let place = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
        bytes[place % length] = change[3];
    }
    fs::write(path, bytes).expect("a file");
}

fuzz_target!(|input: &[u8]| {
    let Some((which, changes)) = input.split_first() else { return };
    let directory = scratch("run");
    let [image, disk] = ["image", "disk"].map(|name| directory.join(name));
    damaged(&IMAGES[0], if which & 1 == 0 { changes } else { &[] }, &image);
    let format = if which & 2 == 0 { Format::Raw } else { Format::Qcow2 };
    damaged(&IMAGES[usize::from(which & 2 != 0)], changes, &disk);
    let opened = Disk::open(&[Layer { path: disk, format }])
        .and_then(|disk| Root::open(Disk::open_raw(&image)?, disk));
    let Ok(root) = opened else { return };
    let listing = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 1000 });
    for entry in listing.iter().flat_map(|listing| &listing.entries) {
        let _content = root.read(&entry.path, 0, 1 << 12);
    }
    let limits = ArchiveLimits { members: 1000, content_bytes: 1 << 20 };
    let _archived = root.write_tar(&mut io::sink(), &limits);
});
