//! Archives: what is saved is loaded as another workspace, and what is not as it was saved makes none.

use std::{
    fs::OpenOptions,
    os::unix::fs::{FileExt, PermissionsExt},
    process::Command,
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    files::FileError,
    workspaces::{ArchiveError, LoadEvent, LoadIo, LoadRequest, SaveRequest, Saved, disk::WorkspaceDisk},
};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

/// Something at several places of a disk: in the first block, across a border of runs, and at the end.
const CONTENT: [(u64, u8, usize); 3] =
    [(0, 1, 4096), ((1 << 20) - 8192, 2, 16384), ((4 << 30) - 4096, 3, 4096)];

/// A workspace whose disk has that content, half of it in the layer that takes the writes. A fake machine has none there.
async fn stopped_with_content(home: &Home, host: &Host) -> WorkspaceId {
    let id = created(host, CreateRequest { name: Some("saved".into()), ..request() }).await;
    let stopped = host.workspaces().stop(id.as_str()).await.unwrap();
    let layers = WorkspaceDisk::of(&home.layout(), &id).layers(&stopped.record.disk);
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    let base = tempfile::NamedTempFile::new_in(home.directory.path()).unwrap();
    base.as_file().set_len(4 << 30).unwrap();
    for (offset, byte, length) in &CONTENT[..2] {
        base.as_file().write_all_at(&vec![*byte; *length], *offset).unwrap();
    }
    fs::rename(base.into_temp_path().keep().unwrap(), &layers.lower[0].path).unwrap();
    let active = &layers.active.path;
    // What the fake engine makes is no image.
    for layer in layers.lower[1..].iter().chain([&layers.active]) {
        fs::remove_file(&layer.path).unwrap();
        run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&layer.path).arg("4G"));
    }
    let (offset, byte, length) = CONTENT[2];
    let write = format!("write -q -P {byte} {offset} {length}");
    run(Command::new("qemu-io").args(["-f", "qcow2", "-c", &write]).arg(active));
    id
}

async fn save(home: &Home, host: &Host, id: &WorkspaceId, force: bool) -> Result<Saved, Error> {
    let disk = host.workspaces().disk(id.as_str()).await?;
    host.workspaces().save(&disk, SaveRequest { path: archive(home), force }, |_| ()).await
}

/// A workspace with that content, which is in an archive.
async fn saved(home: &Home, host: &Host) -> WorkspaceId {
    let id = stopped_with_content(home, host).await;
    save(home, host, &id, false).await.unwrap();
    id
}

fn archive(home: &Home) -> PathBuf {
    home.directory.path().join("archive")
}

fn load_request(home: &Home) -> LoadRequest {
    LoadRequest { path: archive(home), name: None, labels: [].into() }
}

/// The environment is not installed any more.
fn forget_environment(home: &Home) {
    for name in home.house.contents() {
        let path = home.house.path().join("cache/linux/amd64").join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
}

async fn load(host: &Host, request: LoadRequest) -> Result<WorkspaceView, Error> {
    let (events, _heard) = mpsc::channel(10_000);
    host.workspaces().load(request, LoadIo { events, cancel: CancellationToken::new() }).await
}

/// The archive with another manifest, otherwise as it should be.
fn rewrite(home: &Home, change: impl FnOnce(&mut Value)) {
    let bytes = fs::read(archive(home)).unwrap();
    let plain = zstd::decode_all(&*bytes).unwrap();
    let length = u32::from_le_bytes(plain[..4].try_into().unwrap()) as usize;
    let mut manifest = serde_json::from_slice(&plain[4..4 + length]).unwrap();
    change(&mut manifest);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let length_bytes = u32::try_from(manifest.len()).unwrap().to_le_bytes();
    let content = [&length_bytes, &*manifest, &plain[4 + length..]].concat();
    let frame = zstd::encode_all(&*content, 1).unwrap();
    let mut bytes = [&bytes[..24], &*frame, &bytes[bytes.len() - 40..bytes.len() - 32]].concat();
    bytes.extend(<[u8; 32]>::from(Sha256::digest(&bytes)));
    fs::write(archive(home), bytes).unwrap();
}

fn archive_error(outcome: Result<WorkspaceView, Error>) -> ArchiveError {
    match outcome {
        Err(Error::Archive { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_saved_workspace_is_loaded_as_another_one() {
    in_namespace("a_saved_workspace_is_loaded_as_another_one", || async {
        let home = Home::new();
        let host = home.host().await;
        let started = created(&host, request()).await;
        let refused = save(&home, &host, &started, false).await;
        assert!(matches!(refused, Err(Error::WrongState { .. })), "{refused:?}");
        host.workspaces().delete(started.as_str(), false).await.unwrap();

        let id = stopped_with_content(&home, &host).await;
        let update = WorkspaceUpdate {
            labels: [("a".into(), "1".into()), ("b".into(), "1".into())].into(),
            ..Default::default()
        };
        host.workspaces().update(id.as_str(), update).await.unwrap();
        let before = view(&host, &id).await.record;
        let saved = save(&home, &host, &id, false).await.unwrap();
        let bytes = fs::read(archive(&home)).unwrap();
        assert_eq!((saved.length_bytes, saved.data_bytes), (bytes.len() as u64, 24576));
        assert_eq!(fs::metadata(archive(&home)).unwrap().permissions().mode() & 0o777, 0o600);
        let exists = save(&home, &host, &id, false).await;
        assert!(matches!(exists, Err(Error::Files(FileError::OutputExists { .. }))), "{exists:?}");
        // The same disk gives the same file.
        assert_eq!(save(&home, &host, &id, true).await.unwrap(), saved);
        assert_eq!(fs::read(archive(&home)).unwrap(), bytes);
        assert_eq!(view(&host, &id).await.record, before, "saving is no use of it");

        // Names need not be unique.
        let again = load(&host, load_request(&home)).await.unwrap().record;
        assert_eq!((again.name.as_deref(), again.id != id), (Some("saved"), true));
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        let renamed = LoadRequest {
            name: Some(" other ".into()),
            labels: [("b".into(), "2".into())].into(),
            ..load_request(&home)
        };
        let loaded = load(&host, renamed).await.unwrap();
        assert!(loaded.machine.is_none());
        let record = loaded.record;
        assert_eq!(record.state, WorkspaceState::Stopped { reason: StopReason::Requested });
        assert_eq!(record.name.as_deref(), Some("other"));
        assert_eq!(record.labels, [("a".into(), "1".into()), ("b".into(), "2".into())].into());
        assert_eq!(
            (&record.boot_digest, &record.kernel_arguments, record.shape, record.disk_bytes, record.ttl),
            (&before.boot_digest, &before.kernel_arguments, before.shape, before.disk_bytes, before.ttl)
        );
        let disk = WorkspaceDisk::of(&home.layout(), &record.id);
        let base = fs::File::open(&disk.layers(&record.disk).lower[0].path).unwrap();
        assert_eq!(base.metadata().unwrap().permissions().mode() & 0o777, 0o400);
        for (offset, byte, length) in CONTENT {
            let mut found = vec![0; length];
            base.read_exact_at(&mut found, offset).unwrap();
            assert!(found.iter().all(|found| *found == byte), "at {offset}");
        }
        assert!((24576..1 << 20).contains(&disk.used_bytes(true)), "{}", disk.used_bytes(true));
        // It is a workspace like any other, also for the next daemon.
        home.close(host).await;
        let host = home.host().await;
        host.workspaces().start(record.id.as_str()).await.unwrap();
        write(&host, &record.id, "a", "content").await.unwrap();
        for id in [&record.id, &again.id] {
            host.workspaces().delete(id.as_str(), false).await.unwrap();
        }
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn what_is_no_archive_makes_nothing() {
    in_namespace("what_is_no_archive_makes_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = saved(&home, &host).await;
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        let whole = fs::read(archive(&home)).unwrap();
        // Whoever is asked for an environment would have to make it.
        forget_environment(&home);
        let runs = home.house.builder_runs();

        let at = |path: PathBuf| load(&host, LoadRequest { path, ..load_request(&home) });
        assert!(matches!(archive_error(at(home.fifo("fifo")).await), ArchiveError::NotAFile));
        assert!(matches!(archive_error(at(home.directory.path().into()).await), ArchiveError::NotAFile));
        assert!(matches!(archive_error(at("/dev/zero".into()).await), ArchiveError::NotAFile));
        assert!(matches!(
            archive_error(at(home.directory.path().join("absent")).await),
            ArchiveError::Read(_)
        ));
        assert!(matches!(archive_error(at("/bin/sh".into()).await), ArchiveError::Foreign));
        for length in
            [0, 20, 23, 24, 100, whole.len() / 2, whole.len() - 41, whole.len() - 40, whole.len() - 1]
        {
            fs::write(archive(&home), &whole[..length]).unwrap();
            archive_error(load(&host, load_request(&home)).await);
        }
        for at in (24..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(archive(&home), &bytes).unwrap();
            archive_error(load(&host, load_request(&home)).await);
        }
        fs::write(archive(&home), &whole).unwrap();
        let blank = load(&host, LoadRequest { name: Some(" ".into()), ..load_request(&home) }).await;
        assert!(matches!(blank, Err(Error::Invalid { field: "name", .. })), "{blank:?}");
        assert_eq!(home.house.builder_runs(), runs, "an environment was made for nothing");
        home.assert_nothing_is_left(&host).await;
        load(&host, load_request(&home)).await.unwrap();
    });
}

#[test]
fn a_file_that_changes_after_it_was_checked_makes_nothing() {
    in_namespace("a_file_that_changes_after_it_was_checked_makes_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = saved(&home, &host).await;
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        let whole = fs::read(archive(&home)).unwrap();
        let other = home.directory.path().join("other");
        rewrite(&home, |manifest| manifest["name"] = "another".into());
        fs::rename(archive(&home), &other).unwrap();
        let path = archive(&home).display().to_string();
        // The environment is made between the two.
        for change in [
            format!("printf x | dd of='{path}' bs=1 seek={} conv=notrunc status=none", whole.len() / 2),
            format!("printf x | dd of='{path}' bs=1 seek={} conv=notrunc status=none", whole.len() - 1),
            format!("truncate -s {} '{path}'", whole.len() - 1),
            format!("truncate -s 0 '{path}'"),
            // Whole too, and not what was checked.
            format!("cat '{}' > '{path}'", other.display()),
        ] {
            fs::write(archive(&home), &whole).unwrap();
            forget_environment(&home);
            home.house.builder_does(&format!("{change}\ncat \"$house/rootfs.tar\""));
            let error = archive_error(load(&host, load_request(&home)).await);
            assert!(matches!(error, ArchiveError::Changed), "{change}: {error}");
            home.assert_nothing_is_left(&host).await;
        }
        // Another file under its name is another file, and one that grows has its end where it had it.
        fs::write(archive(&home), &whole).unwrap();
        forget_environment(&home);
        home.house.builder_does(&format!("echo more >> '{path}'; rm '{path}'\ncat \"$house/rootfs.tar\""));
        load(&host, load_request(&home)).await.unwrap();
    });
}

#[test]
fn a_disk_is_taken_only_with_the_root_image_that_it_was_made_over() {
    in_namespace("a_disk_is_taken_only_with_the_root_image_that_it_was_made_over", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = saved(&home, &host).await;
        let before = view(&host, &id).await.record;
        let own = fs::read(archive(&home)).unwrap();

        // Another agent boots the same root image.
        fs::write(home.directory.path().join("agent"), "a newer agent").unwrap();
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        let newer = load(&host, load_request(&home)).await.unwrap().record;
        assert_ne!(newer.boot_digest, before.boot_digest);
        assert!(home.layout().kept_environments().join(&newer.boot_digest).is_dir());

        // The environment of that name becomes another one.
        forget_environment(&home);
        fs::write(home.house.path().join("rootfs.tar"), synthetic::rootfs("another")).unwrap();
        let refused = load(&host, load_request(&home)).await;
        assert!(
            matches!(&refused, Err(Error::OtherEnvironment { wanted, found, .. }) if wanted != found),
            "{refused:?}"
        );
        // What a workspace of this store boots is there, whatever became of the environment; and it is this store's word.
        rewrite(&home, |manifest| {
            manifest["environment"]["boot_digest"] = newer.boot_digest.clone().into();
            manifest["environment"]["version"] = "invented".into();
        });
        let kept = load(&host, load_request(&home)).await.unwrap().record;
        assert_eq!(
            (&kept.boot_digest, &kept.kernel_arguments, &kept.environment_version),
            (&newer.boot_digest, &newer.kernel_arguments, &newer.environment_version)
        );
        fs::write(archive(&home), own).unwrap();
        rewrite(&home, |manifest| manifest["environment"]["name"] = "nowhere:1".into());
        let unknown = load(&host, load_request(&home)).await;
        assert!(matches!(unknown, Err(Error::Environment(_))), "{unknown:?}");
        for id in [newer.id, kept.id] {
            host.workspaces().delete(id.as_str(), false).await.unwrap();
        }
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn limits_hold_for_what_is_loaded_but_for_memory() {
    in_namespace("limits_hold_for_what_is_loaded_but_for_memory", || async {
        let home = Home::new();
        let host = home.host().await;
        saved(&home, &host).await;
        home.close(host).await;
        for (limits, refused) in [
            (Limits { max_workspaces: 1, ..LIMITS }, Some("max_workspaces")),
            (Limits { disk_budget_bytes: 20_000, ..LIMITS }, Some("disk_budget_mib")),
            (Limits { memory_budget_mib: 1, ..LIMITS }, None),
        ] {
            let host = home.open_with(limits).await.unwrap();
            let found = match load(&host, load_request(&home)).await {
                Ok(_) => None,
                Err(Error::LimitReached { limit, .. }) => Some(limit),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, refused);
            home.close(host).await;
        }
    });
}

#[test]
fn a_load_that_is_left_leaves_nothing_and_one_that_is_cut_off_is_cleared_away() {
    in_namespace("a_load_that_is_left_leaves_nothing_and_one_that_is_cut_off_is_cleared_away", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = saved(&home, &host).await;
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        forget_environment(&home);
        let never = home.fifo("never");
        home.house.builder_does(&format!("cat '{}'", never.display()));
        for is_dropped in [false, true] {
            let (events, mut heard) = mpsc::channel(10_000);
            let cancel = CancellationToken::new();
            let (workspaces, io) = (host.workspaces().clone(), LoadIo { events, cancel: cancel.clone() });
            let request = load_request(&home);
            let loading = tokio::spawn(async move { workspaces.load(request, io).await });
            while !matches!(heard.recv().await.unwrap(), LoadEvent::Pulling { .. }) {}
            if is_dropped {
                loading.abort();
                assert!(loading.await.unwrap_err().is_cancelled());
            } else {
                cancel.cancel();
                let outcome = loading.await.unwrap();
                assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
            }
            home.assert_nothing_is_left(&host).await;
        }
        home.house.builder_does("cat \"$house/rootfs.tar\"");
        let loaded = load(&host, load_request(&home)).await.unwrap().record.id;
        home.close(host).await;
        // As it is while its disk is written.
        home.leave(&loaded, |record| record.state = WorkspaceState::Creating { machine: None }).await;
        let base =
            WorkspaceDisk::of(&home.layout(), &loaded).layers(&Default::default()).lower[0].path.clone();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o600)).unwrap();
        OpenOptions::new().write(true).open(&base).unwrap().set_len(1 << 20).unwrap();
        let host = home.host().await;
        home.assert_nothing_is_left(&host).await;
    });
}
