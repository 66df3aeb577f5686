//! The format: what is written is read again, and nothing else is.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{
    super::SeedMode,
    manifest::{Environment, Manifest, Origin, Seed},
    reader::{ArchiveReader, Whole},
    writer::{ArchiveWriter, encode},
    *,
};

const BLOCK: usize = BLOCK_BYTES as usize;
const DISK_BYTES: u64 = 4 << 30;

fn manifest() -> Manifest {
    Manifest {
        origin: Origin {
            release: "1.0.0".into(),
            workspace_id: "0123456789ab".into(),
            created_at_ms: 1_700_000_000_000,
        },
        name: Some("fix 42".into()),
        labels: BTreeMap::from([("team".into(), "blue".into())]),
        environment: Environment {
            name: "debian:12".into(),
            version: "1".into(),
            boot_digest: "a".repeat(64),
            root_image_sha256: "0".repeat(64),
        },
        vcpus: 1,
        mem_mib: 1024,
        disk_bytes: DISK_BYTES,
        ttl_ms: Some(600_000),
        seed: Seed { mode: SeedMode::Directory, entry_count: 3, content_bytes: 4, tracked_by_git: true },
    }
}

type Run = (u64, Vec<u8>);

fn written(manifest: &Manifest, runs: &[Run]) -> Vec<u8> {
    written_as(&encode(manifest).unwrap(), runs)
}

fn written_as(manifest: &[u8], runs: &[Run]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArchiveWriter::begin(&mut bytes, manifest).unwrap();
    for (offset, data) in runs {
        writer.run(*offset, data).unwrap();
    }
    let finished = writer.finish().unwrap();
    assert_eq!(finished.length_bytes, bytes.len() as u64);
    assert_eq!(bytes[bytes.len() - 32..], finished.digest);
    bytes
}

fn read(bytes: &[u8]) -> Result<(Manifest, Vec<Run>, Whole), ArchiveError> {
    let mut reader = ArchiveReader::begin(bytes, bytes.len() as u64)?;
    let mut runs = Vec::new();
    while let Some((offset, data)) = reader.next_run()? {
        runs.push((offset, data.to_vec()));
    }
    assert!(reader.file_bytes() <= bytes.len() as u64);
    Ok((reader.manifest().clone(), runs, reader.finish()?))
}

/// An archive around a frame with this content: what no writer of ours makes.
fn around(content: &[u8]) -> Vec<u8> {
    around_frame(&zstd::encode_all(content, 1).unwrap())
}

fn around_frame(frame: &[u8]) -> Vec<u8> {
    let header = [HEADER_FRAME.as_slice(), NAME, &FORMAT_VERSION.to_le_bytes()].concat();
    let mut bytes = [&header, frame, &DIGEST_FRAME].concat();
    bytes.extend(<[u8; 32]>::from(Sha256::digest(&bytes)));
    bytes
}

/// The content of a frame: manifest, runs, and what is said to be their number and size.
fn content(runs: &[Run], told: (u64, u64)) -> Vec<u8> {
    let json = encode(&manifest()).unwrap();
    let mut content = u32::try_from(json.len()).unwrap().to_le_bytes().to_vec();
    content.extend(json);
    for (offset, data) in runs {
        content.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        content.extend(offset.to_le_bytes());
        content.extend(data);
    }
    content.extend(0_u32.to_le_bytes());
    content.extend(told.0.to_le_bytes());
    content.extend(told.1.to_le_bytes());
    content
}

fn small() -> Vec<Run> {
    vec![(0, vec![1; BLOCK]), (1 << 20, (0..=255).cycle().take(3 * BLOCK).collect())]
}

#[test]
fn what_is_written_is_read_again_and_the_same_gives_the_same_bytes() {
    let bytes = written(&manifest(), &small());
    assert_eq!(bytes, written(&manifest(), &small()));
    let (found, runs, whole) = read(&bytes).unwrap();
    assert_eq!((found, runs), (manifest(), small()));
    assert_eq!((whole.data_bytes, &whole.digest[..]), (4 * BLOCK as u64, &bytes[bytes.len() - 32..]));
    let empty = Manifest { name: None, labels: BTreeMap::new(), ttl_ms: None, ..manifest() };
    let (found, runs, _) = read(&written(&empty, &[])).unwrap();
    assert_eq!((&found, found.ttl(), runs), (&empty, None, Vec::new()));
}

#[test]
fn others_can_look_into_it_with_the_tools_they_have() {
    let bytes = written(&manifest(), &small());
    // Skippable frames are skipped by every decoder of the format.
    let plain = zstd::decode_all(&*bytes).unwrap();
    assert_eq!(plain, content(&small(), (2, 4 * BLOCK as u64)));
    let (body, digest) = bytes.split_at(bytes.len() - 32);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(body)), digest);
}

#[test]
fn every_truncation_is_found() {
    let bytes = written(&manifest(), &small());
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        assert!(!matches!(error, ArchiveError::Read(_)), "{length}: {error}");
        // Also one that happens after its length was asked for.
        let begun = ArchiveReader::begin(&bytes[..length], bytes.len() as u64);
        let Ok(mut reader) = begun else { continue };
        let ended = loop {
            match reader.next_run() {
                Ok(Some(_)) => {}
                Ok(None) => break reader.finish().map(drop),
                Err(error) => break Err(error),
            }
        };
        assert!(ended.is_err(), "{length}");
    }
    for behind in [&[0][..], &DIGEST_FRAME, &bytes] {
        read(&[&bytes, behind].concat()).unwrap_err();
    }
}

#[test]
fn every_changed_bit_is_found() {
    let bytes = written(&manifest(), &small());
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            assert!(read(&changed).is_err(), "bit {bit} of byte {at}");
            changed[at] = bytes[at];
        }
    }
}

#[test]
fn a_newer_one_is_told_from_a_foreign_one() {
    let mut bytes = written(&manifest(), &small());
    bytes[20] = 2;
    assert!(matches!(read(&bytes), Err(ArchiveError::Newer { found: 2 })));
    bytes[20] = 0;
    assert!(matches!(read(&bytes), Err(ArchiveError::Damaged { .. })));
    for foreign in [&b""[..], b"PK\x03\x04", &[0; 4096], &zstd::encode_all(&b"x"[..], 1).unwrap()] {
        assert!(matches!(read(foreign), Err(ArchiveError::Foreign)), "{foreign:?}");
    }
}

#[test]
fn a_disk_is_written_in_its_order_and_within_its_bounds() {
    let block = || vec![1; BLOCK];
    let all = |runs: &[Run]| (runs.len() as u64, runs.iter().map(|(_, data)| data.len() as u64).sum());
    let refused = |runs: &[Run]| match read(&around(&content(runs, all(runs)))) {
        Ok(_) => None,
        Err(ArchiveError::Damaged { what }) => Some(what),
        Err(other) => panic!("{other}"),
    };
    let last = DISK_BYTES - BLOCK as u64;
    assert_eq!(refused(&[(0, block()), (BLOCK as u64, block()), (last, block())]), None);
    let (misplaced, cut) = ("a part of the disk is not in its place", "a part of the disk is cut wrongly");
    for (runs, why) in [
        (vec![(BLOCK as u64, block()), (0, block())], misplaced),
        (vec![(0, block()), (0, block())], misplaced),
        (vec![(DISK_BYTES, block())], misplaced),
        (vec![(last, vec![1; 2 * BLOCK])], misplaced),
        (vec![(u64::MAX - 4095, block())], misplaced),
        (vec![(1, block())], cut),
        (vec![(0, vec![1; BLOCK + 1])], cut),
        (vec![(0, vec![1; (1 << 20) + BLOCK])], cut),
        (vec![((1 << 20) - BLOCK as u64, vec![1; 2 * BLOCK])], cut),
        (vec![(0, [block(), vec![0; BLOCK]].concat())], "it stores zeros"),
    ] {
        assert_eq!(refused(&runs), Some(why), "{:?}", runs.iter().map(|run| run.0).collect::<Vec<_>>());
    }
    for told in [(1, 2 * BLOCK as u64), (2, BLOCK as u64), (3, 4 * BLOCK as u64)] {
        read(&around(&content(&small(), told))).unwrap_err();
    }
    // Something behind the end, within the frame and in a second one.
    let told = all(&small());
    read(&around(&[content(&small(), told), vec![0]].concat())).unwrap_err();
    let frame = zstd::encode_all(&*content(&small(), told), 1).unwrap();
    read(&around_frame(&frame)).unwrap();
    read(&around_frame(&[&*frame, &*frame].concat())).unwrap_err();
}

#[test]
fn an_archive_does_not_decide_how_much_memory_is_taken() {
    let (runs, told) = (small(), (2, 4 * BLOCK as u64));
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&content(&runs, told)).unwrap();
    let frame = encoder.finish().unwrap();
    assert!(matches!(read(&around_frame(&frame)), Err(ArchiveError::Compression(_))));
    // The longest run that a number can say, of which there is nothing.
    let mut endless = content(&[], (0, 0));
    endless.truncate(endless.len() - 20);
    endless.extend(u32::MAX.to_le_bytes());
    endless.extend(0_u64.to_le_bytes());
    assert!(matches!(read(&around(&endless)), Err(ArchiveError::Damaged { .. })));
    let long = (MANIFEST_BYTES + 1).to_le_bytes();
    assert!(matches!(read(&around(&long)), Err(ArchiveError::Damaged { .. })));
    let label = |number: u32| (format!("k{number}"), "v".repeat(120));
    let many = Manifest { labels: (0..40_000).map(label).collect(), ..manifest() };
    assert!(matches!(encode(&many), Err(ArchiveError::TooLong { .. })));
}

#[test]
fn a_manifest_asks_for_nothing_that_create_would_not_make() {
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        match read(&written(&manifest, &[])) {
            Ok(_) => None,
            Err(ArchiveError::Refused { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(refused(&|_| ()), None);
    for (field, change) in [
        ("name", &(|m: &mut Manifest| m.name = Some(" a".into())) as &dyn Fn(&mut Manifest)),
        ("name", &|m| m.name = Some("a\u{1b}b".into())),
        ("labels", &|m| m.labels = BTreeMap::from([("a b".into(), "x".into())])),
        ("labels", &|m| m.labels = BTreeMap::from([("a".into(), "x\n".into())])),
        ("vcpu_count", &|m| m.vcpus = 9),
        ("mem_mib", &|m| m.mem_mib = u32::MAX),
        ("ttl_seconds", &|m| m.ttl_ms = Some(0)),
        ("ttl_seconds", &|m| m.ttl_ms = Some(u64::MAX)),
        ("disk_bytes", &|m| m.disk_bytes = 0),
        ("disk_bytes", &|m| m.disk_bytes += 4096),
        ("disk_bytes", &|m| m.disk_bytes = (256 << 30) + (1 << 20)),
        ("environment", &|m| m.environment.boot_digest = "../../etc".into()),
        ("environment", &|m| m.environment.root_image_sha256 = "A".repeat(64)),
        ("environment", &|m| m.environment.name = String::new()),
        ("environment", &|m| m.environment.version = "1\u{1b}[2J".into()),
    ] {
        assert_eq!(refused(change), Some(field));
    }
    let json = |text: &str| read(&written_as(text.as_bytes(), &[])).unwrap_err();
    assert!(matches!(json("{}"), ArchiveError::Manifest(_)));
    let mut more = serde_json::to_value(manifest()).unwrap();
    more["seed"]["path"] = "/home/somebody/.ssh".into();
    assert!(matches!(json(&more.to_string()), ArchiveError::Manifest(_)));
    assert!(matches!(json(&"[".repeat(1 << 20)), ArchiveError::Manifest(_)));
}

#[test]
fn nothing_of_the_host_is_in_the_manifest() {
    use super::super::{SeedRecord, StopReason, WorkspaceId, WorkspaceRecord, WorkspaceState};
    let now = std::time::UNIX_EPOCH + Duration::from_secs(5);
    let record = WorkspaceRecord {
        id: WorkspaceId::from_bytes([1; 6]),
        name: None,
        labels: BTreeMap::new(),
        environment: "debian:12".into(),
        environment_version: "7".into(),
        boot_digest: "b".repeat(64),
        kernel_arguments: vec!["some=argument".into()],
        shape: manifest().shape(),
        disk_bytes: DISK_BYTES,
        ttl: Some(Duration::from_secs(1)),
        created_at: now,
        last_activity_at: now,
        one_shot: false,
        call: None,
        ends_with_callers: false,
        allow_host_compat: true,
        state: WorkspaceState::Stopped { reason: StopReason::Expired },
        seed: SeedRecord {
            mode: SeedMode::Directory,
            path: Some("/home/somebody/secret".into()),
            notes: vec!["left out /home/somebody/notes".into()],
            exclude: vec!["secret-pattern".into()],
            ..SeedRecord::default()
        },
        disk: Default::default(),
        lineage: Default::default(),
        idle_sleep: None,
        auto_checkpoint: false,
        last_error: Some("cannot open /home/somebody/x".into()),
    };
    let manifest = Manifest::of(&record, "1.0.0", "c".repeat(64));
    manifest.check().unwrap();
    let text = String::from_utf8(encode(&manifest).unwrap()).unwrap();
    assert!(!text.contains('/') && !text.contains("secret") && !text.contains("some=argument"), "{text}");
    assert_eq!(manifest.seed_record().path, None);
    assert_eq!((manifest.ttl(), manifest.origin.created_at_ms), (record.ttl, 5000));
}

/// Any disk, as its runs: ascending, within windows, without zeros.
fn any_runs() -> impl Strategy<Value = Vec<Run>> {
    let block = 0_u64..DISK_BYTES / BLOCK as u64;
    let blocks = prop::collection::btree_map(block, (1_u8..=255, any::<bool>()), 0..12);
    blocks.prop_map(|blocks| {
        let mut runs: Vec<Run> = Vec::new();
        for (block, (seed, is_noise)) in blocks {
            let mut state = u64::from(seed);
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if is_noise { state.to_be_bytes()[0] } else { seed }
            };
            let mut data: Vec<u8> = (0..BLOCK).map(|_| next()).collect();
            data[0] = seed;
            runs.push((block * BLOCK as u64, data));
        }
        runs
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_disk_comes_back(runs in any_runs()) {
        let (_, found, whole) = read(&written(&manifest(), &runs)).unwrap();
        prop_assert_eq!(whole.data_bytes, (runs.len() * BLOCK) as u64);
        prop_assert_eq!(found, runs);
    }

    #[test]
    fn whatever_is_in_a_frame_reading_ends(noise in prop::collection::vec(any::<u8>(), 0..4096), cut in 0_usize..64) {
        drop(read(&around(&noise)));
        drop(read(&around_frame(&noise)));
        let good = content(&small(), (2, 4 * BLOCK as u64));
        let mut mixed = good[..good.len() - cut].to_vec();
        mixed.extend(&noise);
        drop(read(&around(&mixed)));
    }
}
