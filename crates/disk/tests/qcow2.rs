//! Layers as QEMU's tools write them.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use pyro_disk::{Disk, Error};
use support::{qcow2, raw, run, tool};
use tempfile::TempDir;

/// A chain of three images, each with a part of its own, and what QEMU makes of it.
struct Chain {
    directory: TempDir,
}

impl Chain {
    fn new(options: &str) -> Self {
        let chain = Self { directory: tempfile::tempdir().unwrap() };
        let base = File::create(chain.path("base")).unwrap();
        base.set_len(5 << 20).unwrap();
        base.write_all_at(&[1; 3 << 20], 1 << 20).unwrap();
        for (name, below, format) in [("middle", "base", "raw"), ("top", "middle", "qcow2")] {
            let mut command = tool("qemu-img");
            command.args(["create", "-q", "-f", "qcow2", "-o", options, "-F", format, "-b"]);
            run(command.arg(chain.path(below)).arg(chain.path(name)).arg("9M"));
        }
        chain.write("middle", &["write -P 2 1500k 700k", "write -P 2 8M 300000", "write -z 2M 256k"]);
        chain.write("top", &["write -P 3 2100k 64k", "write -z 8M 128k", "write -P 3 0 1"]);
        chain
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, commands: &[&str]) {
        let mut command = tool("qemu-io");
        command.args(["-f", "qcow2"]);
        for line in commands {
            command.args(["-c", line]);
        }
        run(command.arg(self.path(name)));
    }

    fn as_qemu_reads_it(&self) -> Vec<u8> {
        let mut command = tool("qemu-img");
        command.args(["convert", "-f", "qcow2", "-O", "raw"]).arg(self.path("top"));
        run(command.arg(self.path("flat")));
        fs::read(self.path("flat")).unwrap()
    }

    fn open(&self) -> Disk {
        let layers = [raw(&self.path("base")), qcow2(&self.path("middle")), qcow2(&self.path("top"))];
        Disk::open(&layers).unwrap()
    }

    fn export(&self) -> Result<(PathBuf, pyro_disk::Exported), Error> {
        let path = self.path("exported");
        let exported = self.open().write_raw(&File::create(&path).unwrap(), u64::MAX, &mut |_| Ok(()))?;
        Ok((path, exported))
    }
}

#[test]
fn a_chain_reads_as_qemu_reads_it() {
    for options in ["compat=1.1", "compat=0.10", "cluster_size=512", "cluster_size=2M", "lazy_refcounts=on"] {
        let chain = Chain::new(options);
        let (path, exported) = chain.export().unwrap();
        assert_eq!(exported.size_bytes, 9 << 20);
        assert!(fs::read(&path).unwrap() == chain.as_qemu_reads_it(), "{options}");
    }
}

#[test]
fn an_export_has_the_holes_of_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let [base, top, path] = ["base", "top", "exported"].map(|name| directory.path().join(name));
    let file = File::create(&base).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(b"one", 5 << 30).unwrap();
    run(tool("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&top).arg("2T"));
    run(tool("qemu-io").args(["-f", "qcow2", "-c", "write -P 7 1500G 4k"]).arg(&top));
    let disk = Disk::open(&[raw(&base), qcow2(&top)]).unwrap();
    let exported = disk.write_raw(&File::create(&path).unwrap(), u64::MAX, &mut |_| Ok(())).unwrap();
    assert_eq!((exported.size_bytes, exported.written_bytes), (2 << 40, 8192));
    let metadata = path.metadata().unwrap();
    assert_eq!(metadata.len(), 2 << 40);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} KiB", metadata.blocks() / 2);
    let (mut one, mut seven) = ([0; 3], [0; 4096]);
    let file = File::open(&path).unwrap();
    file.read_exact_at(&mut one, 5 << 30).unwrap();
    file.read_exact_at(&mut seven, 1500 << 30).unwrap();
    assert_eq!((one, seven), (*b"one", [7; 4096]));
}

/// Everything that is given out, and where.
fn data(disk: &Disk) -> Vec<(u64, Vec<u8>)> {
    let mut runs = Vec::new();
    let take = &mut |offset, run: &[u8]| {
        runs.extend((!run.is_empty()).then(|| (offset, run.to_vec())));
        Ok(())
    };
    disk.read_data(u64::MAX, take).unwrap();
    runs
}

#[test]
fn data_is_the_same_whatever_layers_it_is_in() {
    let chain = Chain::new("cluster_size=512");
    let found = data(&chain.open());
    let flat = chain.as_qemu_reads_it();
    assert_eq!(found, data(&Disk::open_raw(&chain.path("flat")).unwrap()));
    let mut image = vec![0; flat.len()];
    let mut end = 0;
    for (offset, run) in found {
        assert!(offset >= end && offset.is_multiple_of(4096) && run.len() <= 1 << 20);
        assert!(run.chunks(4096).all(|block| block.iter().any(|byte| *byte != 0)));
        end = offset + run.len() as u64;
        assert_eq!(offset >> 20, (end - 1) >> 20, "it crosses a border");
        image[usize::try_from(offset).unwrap()..][..run.len()].copy_from_slice(&run);
    }
    assert!(image == flat);
    // Also of what is no multiple of a block long.
    let odd = chain.path("odd");
    fs::write(&odd, [vec![0; 5000], vec![7; 5000]].concat()).unwrap();
    let runs: Vec<_> =
        data(&Disk::open_raw(&odd).unwrap()).iter().map(|(offset, run)| (*offset, run.len())).collect();
    assert_eq!(runs, [(4096, 5904)]);
}

#[test]
fn the_name_of_a_backing_file_is_not_believed() {
    let chain = Chain::new("compat=1.1");
    let secret = chain.path("secret");
    fs::write(&secret, [9; 1 << 20]).unwrap();
    run(tool("qemu-img")
        .args(["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(&secret)
        .arg(chain.path("top")));
    let alone = Disk::open(&[qcow2(&chain.path("top"))]).unwrap();
    let path = chain.path("exported");
    alone.write_raw(&File::create(&path).unwrap(), u64::MAX, &mut |_| Ok(())).unwrap();
    assert!(!fs::read(&path).unwrap().contains(&9));
}

fn refused(path: &Path) -> Error {
    Disk::open(&[qcow2(path)])
        .and_then(|disk| {
            let file = tempfile::tempfile().unwrap();
            disk.write_raw(&file, u64::MAX, &mut |_| Ok(()))
        })
        .unwrap_err()
}

#[test]
fn what_our_engines_never_write_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let create = |options: &str| {
        drop(fs::remove_file(&path));
        let mut command = tool("qemu-img");
        run(command.args(["create", "-q", "-f", "qcow2", "-o", options]).arg(&path).arg("1M"));
    };
    create("extended_l2=on");
    assert!(refused(&path).to_string().contains("subclusters"));
    create(&format!("data_file={}", directory.path().join("data").display()));
    assert!(refused(&path).to_string().contains("another file"));
    create("compat=1.1");
    run(tool("qemu-io").args(["-f", "qcow2", "-c", "write -c -P 5 0 64k"]).arg(&path));
    assert!(refused(&path).to_string().contains("compressed"));
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&2_u32.to_be_bytes(), 32).unwrap();
    assert!(refused(&path).to_string().contains("encryption"));
    file.write_all_at(&4_u32.to_be_bytes(), 4).unwrap();
    assert!(refused(&path).to_string().contains("version 4"));
    assert!(matches!(Disk::open(&[]), Err(Error::Unsupported { .. })));
    assert!(matches!(Disk::open(&[raw(&path), raw(&path)]), Err(Error::Unsupported { .. })));
    assert!(matches!(Disk::open(&[raw(&directory.path().join("missing"))]), Err(Error::Open { .. })));
    assert!(matches!(Disk::open(&[raw(directory.path())]), Err(Error::Open { .. })));
}

#[test]
fn a_corrupt_table_gives_an_error_with_file_and_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let write = |at: u64, bytes: &[u8]| {
        drop(fs::remove_file(&path));
        run(tool("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&path).arg("10M"));
        run(tool("qemu-io").args(["-f", "qcow2", "-c", "write -P 5 0 64k"]).arg(&path));
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut l1 = [0; 8];
        file.read_exact_at(&mut l1, 40).unwrap();
        let mut l2 = [0; 8];
        file.read_exact_at(&mut l2, u64::from_be_bytes(l1)).unwrap();
        // 0 to 999 are places in the header, 1000 in the first table, 2000 in the second.
        let at = match at {
            2000.. => (u64::from_be_bytes(l2) & 0xff_ffff_ffff) + at - 2000,
            1000.. => u64::from_be_bytes(l1) + at - 1000,
            _ => at,
        };
        file.write_all_at(bytes, at).unwrap();
        refused(&path)
    };
    let number = u64::to_be_bytes;
    for (at, bytes) in [
        (0, &b"QFO"[..]),
        (20, &[0, 0, 0, 8]),
        (20, &[0, 0, 0, 60]),
        (24, &number(u64::MAX)),
        (36, &[0, 0, 0, 0]),
        (36, &[255, 255, 255, 255]),
        (40, &number(1)),
        (40, &number(1 << 50)),
        (1000, &number(1 << 63 | 0x200)),
        (1000, &number(1 << 63 | 1 << 50)),
        (1000, &number(1 << 60)),
        (2000, &number(1 << 63 | 0x200)),
        (2000, &number(1 << 63 | 1 << 50)),
        (2000, &number(1 << 63 | 4)),
    ] {
        let error = write(at, bytes);
        assert!(matches!(error, Error::Corrupt { .. }), "{at} {bytes:?}: {error}");
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("at byte"), "{text}");
    }
}

#[test]
fn an_export_ends_when_nobody_wants_it_and_at_its_bound() {
    let disk = Chain::new("compat=1.1").open();
    let mut asked = 0;
    let ended = disk.write_raw(&tempfile::tempfile().unwrap(), u64::MAX, &mut |_| {
        asked += 1;
        Err(std::io::ErrorKind::Other.into())
    });
    assert!(matches!(ended, Err(Error::Write { .. })) && asked == 1, "{ended:?}, {asked}");
    let file = tempfile::tempfile().unwrap();
    let refused = disk.write_raw(&file, disk.size_bytes() - 1, &mut |_| Ok(()));
    assert!(matches!(refused, Err(Error::TooMuch { .. })), "{refused:?}");
    assert_eq!(file.metadata().unwrap().len(), 0);
}
