//! New layers, as QEMU's tools see them.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod support;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use pyro_disk::{Error, layer};
use support::{run, tool};
use tempfile::TempDir;

const CLUSTER: u64 = 64 << 10;

fn check(image: &Path) {
    run(tool("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(image));
}

fn merge(layers: &[PathBuf], to: &Path) -> Result<(), Error> {
    layer::merge(layers, to, &mut |_| Ok(()))
}

#[test]
fn qemu_finds_no_error_in_an_empty_layer_of_any_size() {
    let directory = tempfile::tempdir().unwrap();
    for (name, virtual_bytes) in [("small", 1 << 20), ("usual", 4 << 30), ("large", 8 << 40)] {
        let path = directory.path().join(name);
        layer::create(&path, virtual_bytes).unwrap();
        let about = path.metadata().unwrap();
        assert!(about.blocks() * 512 <= 64 << 10, "{name} is not sparse");
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
        check(&path);
        let info = run(tool("qemu-img").args(["info", "--output=json", "-f", "qcow2"]).arg(&path));
        assert!(info.contains(&format!("\"virtual-size\": {virtual_bytes},")), "{info}");
        assert!(!info.contains("backing-filename"), "{info}");
        // And it is one that can be written to.
        let last = format!("write -P 7 {} 512", virtual_bytes - 512);
        run(tool("qemu-io").args(["-f", "qcow2", "-c", &last]).arg(&path));
        check(&path);
    }
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let [path, other] = ["layer", "other"].map(|name| directory.path().join(name));
    fs::write(&path, "work").unwrap();
    layer::create(&other, 1 << 20).unwrap();
    assert_eq!(layer::create(&path, 1 << 20).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(matches!(merge(&[other], &path), Err(Error::Write { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"work");
}

/// What is done to a layer, in bytes.
#[derive(Clone, Debug)]
enum Step {
    Write { at: u64, length: u64, byte: u8 },
    Zero { at: u64, length: u64 },
    Discard { at: u64, length: u64 },
}

impl Step {
    fn command(&self) -> String {
        match self {
            Self::Write { at, length, byte } => format!("write -q -P {byte} {at} {length}"),
            Self::Zero { at, length } => format!("write -q -z -u {at} {length}"),
            Self::Discard { at, length } => format!("discard -q {at} {length}"),
        }
    }
}

/// A disk of a raw base and layers over it, as qemu-io wrote them.
struct Chain {
    directory: TempDir,
    layers: Vec<PathBuf>,
}

impl Chain {
    fn new(base_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = File::create(directory.path().join("base")).unwrap();
        base.set_len(base_bytes).unwrap();
        base.write_all_at(&vec![0xba; usize::try_from(base_bytes).unwrap()], 0).unwrap();
        Self { directory, layers: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A layer of so many bytes over the others.
    fn layer(&mut self, options: &str, virtual_bytes: u64, steps: &[Step]) {
        let path = self.path(&format!("layer-{}", self.layers.len()));
        let (below, format) = match self.layers.last() {
            None => (self.path("base"), "raw"),
            Some(layer) => (layer.clone(), "qcow2"),
        };
        let mut create = tool("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-o", options, "-F", format, "-b"]);
        run(create.arg(below).arg(&path).arg(virtual_bytes.to_string()));
        let mut write = tool("qemu-io");
        write.args(["-f", "qcow2", "-d", "unmap"]);
        for step in steps {
            write.args(["-c", &step.command()]);
        }
        if !steps.is_empty() {
            run(write.arg(&path));
        }
        self.layers.push(path);
    }

    fn flat(&self, top: &Path) -> Vec<u8> {
        let flat = self.path("flat");
        run(tool("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).arg(top).arg(&flat));
        fs::read(flat).unwrap()
    }

    fn put_over(&self, image: &Path, below: Option<&PathBuf>) {
        let (base, format) = (self.path("base"), below.map_or("raw", |_| "qcow2"));
        let mut rebase = tool("qemu-img");
        rebase.args(["rebase", "-u", "-f", "qcow2", "-F", format, "-b"]);
        run(rebase.arg(below.unwrap_or(&base)).arg(image));
    }

    /// Merges a run of the layers, and has QEMU compare the disk as it was with the disk that has the merged layer instead.
    fn merge_and_compare(&self, first: usize, behind: usize) -> PathBuf {
        let before = self.flat(self.layers.last().unwrap());
        let merged = self.path(&format!("merged-{first}-{behind}"));
        merge(&self.layers[first..behind], &merged).unwrap();
        check(&merged);
        assert_eq!(merged.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let info = run(tool("qemu-img").args(["info", "-f", "qcow2"]).arg(&merged));
        assert!(!info.contains("backing file"), "{info}");
        self.put_over(&merged, first.checked_sub(1).and_then(|below| self.layers.get(below)));
        let above = self.layers.get(behind);
        if let Some(above) = above {
            self.put_over(above, Some(&merged));
        }
        let after = self.flat(if above.is_some() { self.layers.last().unwrap() } else { &merged });
        assert!(before == after, "the disk is another when {first}..{behind} are merged");
        if let Some(above) = above {
            self.put_over(above, Some(&self.layers[behind - 1]));
        }
        merged
    }
}

/// Anything up to `bytes`, often whole clusters.
fn place(bytes: u64) -> impl Strategy<Value = (u64, u64)> {
    let clusters = bytes / CLUSTER;
    let whole = (0..clusters, 1..=6_u64)
        .prop_map(move |(at, length)| (at * CLUSTER, length.min(clusters - at) * CLUSTER));
    let sectors = (0..bytes / 512, 1..=400_u64)
        .prop_map(move |(at, length)| (at * 512, length.min(bytes / 512 - at) * 512));
    prop_oneof![whole, sectors]
}

fn steps(bytes: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..5_u8, place(bytes), any::<u8>()).prop_map(|(kind, (at, length), byte)| match kind {
        0 => Step::Zero { at, length },
        1 => Step::Discard { at, length },
        _ => Step::Write { at, length, byte },
    });
    prop::collection::vec(step, 0..12)
}

/// Layers over a base, each with its size: odd sectors too, since sizes need be no multiple of a cluster.
fn chain() -> impl Strategy<Value = (u64, Vec<(u64, Vec<Step>)>)> {
    let grown = prop_oneof![3 => Just(0), 1 => 1..40_u64, 1 => Just(128)];
    (8..40_u64, prop::collection::vec(grown, 2..6)).prop_flat_map(|(base, growths)| {
        let base = base * 128 * 512 / 2;
        let mut size = base;
        let sizes: Vec<u64> = growths
            .into_iter()
            .map(|sectors| {
                size += sectors * 512;
                size
            })
            .collect();
        let layers: Vec<_> = sizes.into_iter().map(|size| (Just(size), steps(size))).collect();
        (Just(base), layers)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_disk_is_the_same_whichever_of_its_layers_are_merged(
        (base, layers) in chain(),
        picks in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let mut chain = Chain::new(base);
        for (size, steps) in &layers {
            chain.layer("compat=1.1", *size, steps);
        }
        let first = picks.0.index(layers.len());
        let behind = first + 1 + picks.1.index(layers.len() - first);
        chain.merge_and_compare(first, behind);
    }
}

#[test]
fn images_that_qemu_writes_in_other_ways_are_merged_too() {
    let mut chain = Chain::new(3 << 20);
    let write = |at: u64, length: u64, byte| Step::Write { at, length, byte };
    chain.layer("compat=0.10", 3 << 20, &[write(0, 1 << 20, 1), Step::Discard { at: 0, length: 128 << 10 }]);
    chain.layer("lazy_refcounts=on", 3 << 20, &[write(1 << 20, 70_144, 2)]);
    chain.layer("extended_l2=off,compression_type=zstd", 3 << 20, &[write(300_032, 512, 3)]);
    chain.layer("refcount_bits=64", 3 << 20, &[Step::Zero { at: 0, length: 1 << 20 }]);
    chain.layer("compat=1.1", 3 << 20, &[]);
    for (first, behind) in [(0, 5), (0, 2), (1, 4), (3, 5)] {
        chain.merge_and_compare(first, behind);
    }
}

#[test]
fn what_is_zero_takes_no_room_and_what_nobody_wrote_is_not_in_it() {
    let mut chain = Chain::new(1 << 20);
    let size = 3 << 30;
    chain.layer("compat=1.1", size, &[Step::Write { at: 2 << 30, length: 8 << 20, byte: 5 }]);
    chain.layer("compat=1.1", size, &[Step::Write { at: 2 << 30, length: 8 << 20, byte: 0 }]);
    chain.layer("compat=1.1", size, &[Step::Write { at: 1 << 30, length: 512, byte: 6 }]);
    let merged = chain.path("merged");
    merge(&chain.layers, &merged).unwrap();
    check(&merged);
    let about = merged.metadata().unwrap();
    // Header, first table, two second ones, one cluster, counts and their table.
    assert_eq!(about.len(), 7 * CLUSTER);
    // But zeros hide what is below.
    chain.put_over(&merged, None);
    let map = run(tool("qemu-img").args(["map", "-f", "qcow2", "--output=json"]).arg(&merged));
    let start = format!(
        "\"start\": {}, \"length\": {}, \"depth\": 0, \"present\": true, \"zero\": true",
        2_u64 << 30,
        8 << 20
    );
    assert!(map.contains(&start), "{map}");
}

#[test]
fn many_blocks_of_counts_are_right() {
    // More clusters than one block counts, which is 2 GiB; those of the lower layer are hidden, so little is copied.
    let directory = tempfile::tempdir().unwrap();
    let [sparse, merged] = ["sparse", "merged"].map(|name| directory.path().join(name));
    run(tool("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&sparse).arg("3G"));
    let mut write = tool("qemu-io");
    write.args(["-f", "qcow2"]);
    for gib in 0..3 {
        write.args(["-c", &format!("write -q -P {} {gib}G 800M", gib + 1)]);
    }
    run(write.arg(&sparse));
    merge(std::slice::from_ref(&sparse), &merged).unwrap();
    check(&merged);
    let mut compare = tool("qemu-img");
    run(compare.args(["compare", "-q", "-f", "qcow2", "-F", "qcow2"]).arg(&sparse).arg(&merged));
}

#[test]
fn a_merge_that_ends_early_leaves_nothing() {
    let mut chain = Chain::new(1 << 20);
    chain.layer("compat=1.1", 1 << 20, &[Step::Write { at: 0, length: 1 << 20, byte: 5 }]);
    let merged = chain.path("merged");
    let mut asked = 0;
    let ended = layer::merge(&chain.layers, &merged, &mut |_| {
        asked += 1;
        if asked == 3 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    });
    assert!(matches!(ended, Err(Error::Write { .. })) && asked == 3, "{ended:?}, {asked}");
    assert!(!merged.exists());
}

#[test]
fn a_hostile_layer_is_refused_and_cannot_make_the_new_one_large() {
    let mut chain = Chain::new(1 << 20);
    let merged = chain.path("merged");
    chain.layer("compat=1.1", 512 << 20, &[Step::Write { at: 0, length: CLUSTER, byte: 5 }]);
    chain.layer("compat=1.1", 512 << 20, &[]);
    // Every cluster of the disk is the same one of the file.
    let file = File::options().read(true).write(true).open(&chain.layers[0]).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes)
    };
    let table = number(number(40)) & 0x00ff_ffff_ffff_fe00;
    let entry = number(table).to_be_bytes();
    file.write_all_at(&entry.repeat(8192), table).unwrap();
    let refused = merge(&chain.layers, &merged).unwrap_err();
    assert!(refused.to_string().contains("more than once"), "{refused}");
    assert!(!merged.exists());

    chain.layer("compat=1.1", 1 << 20, &[]);
    assert!(matches!(merge(&chain.layers[1..], &merged), Err(Error::Corrupt { .. })), "the disk shrinks");
    chain.layer("cluster_size=4096", 512 << 20, &[]);
    assert!(matches!(merge(&chain.layers[3..], &merged), Err(Error::Unsupported { .. })));
    assert!(matches!(merge(&[], &merged), Err(Error::Unsupported { .. })));
    assert!(matches!(merge(&[chain.path("missing")], &merged), Err(Error::Open { .. })));
    assert!(!merged.exists());
}
