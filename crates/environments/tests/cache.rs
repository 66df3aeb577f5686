//! The cache as its callers see it: built once, whole or not there, checked, pruned.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod synthetic;

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    process::{Command, Stdio},
    sync::Arc,
};

use pyro_environments::{
    Cancellation, Environments, EnvironmentsConfig, Error, ImportSource, Phase, Progress, Source,
};
use synthetic::{House, RELEASE, VMLINUX, rootfs};

const NAME: &str = "debian:12-base";

fn never() -> Cancellation {
    Cancellation::new().unwrap()
}

fn ignore(_: &Progress) {}

fn import(
    environments: &Environments,
    house: &House,
    name: &str,
    marker: &str,
) -> pyro_environments::Environment {
    let archive = house.path().join("given.tar");
    fs::write(&archive, rootfs(marker)).unwrap();
    environments.import(name, &ImportSource::at(archive).unwrap(), &never(), &mut ignore).unwrap()
}

#[test]
fn a_pull_builds_once_and_is_told_as_it_goes() {
    let house = House::new();
    let environments = house.environments();
    assert_eq!(environments.installed(NAME).unwrap(), None);
    assert!(!environments.inspect(NAME).unwrap().installed);
    let mut seen = Vec::new();
    let built = environments.pull(NAME, &never(), &mut |progress| seen.push(progress.clone())).unwrap();
    assert!(seen.is_sorted_by(|a, b| a.fraction <= b.fraction));
    assert_eq!(seen.last().unwrap().phase, Phase::Ready);
    assert_eq!(fs::read(built.vmlinux()).unwrap(), VMLINUX);
    assert_eq!(built.record.kernel_release, RELEASE);
    assert_eq!(environments.ensure(NAME, &never(), &mut ignore).unwrap(), built);
    assert_eq!(house.builder_runs(), 1);
    let info = environments.inspect(NAME).unwrap();
    assert!(info.installed && info.install_manifest.unwrap().is_file());
    assert_eq!(info.source, Source::Mmdebstrap);
    assert!(environments.verify(NAME).unwrap().is_sound());
    assert!(house.scratch_is_empty());
}

#[test]
fn equal_input_gives_equal_files() {
    let (one, two) = (House::new(), House::new());
    let first = import(&one.environments(), &one, "mine", "same");
    let second = import(&two.environments(), &two, "mine", "same");
    assert_eq!(first.digest(), second.digest());
}

#[test]
fn names_are_refused_with_reasons() {
    let house = House::new();
    let environments = house.environments();
    assert!(matches!(
        environments.ensure("oci:alpine", &never(), &mut ignore),
        Err(Error::ReservedName { .. })
    ));
    assert!(matches!(environments.inspect("../etc"), Err(Error::BadName { .. })));
    import(&environments, &house, "mine", "x");
    let Err(Error::UnknownEnvironment { known, .. }) = environments.installed("nothing") else { panic!() };
    assert_eq!(known, ["debian:12", "debian:12-base", "debian:12-build", "mine"]);
}

#[test]
fn an_import_describes_itself_and_the_newest_counts() {
    let house = House::new();
    let environments = house.environments();
    let first = import(&environments, &house, "mine", "one");
    let second = import(&environments, &house, "mine", "two");
    assert_ne!(first.digest(), second.digest());
    assert_eq!(environments.installed("mine").unwrap(), Some(second.clone()));
    let info = environments.inspect("mine").unwrap();
    assert_eq!((info.distribution.as_str(), info.distribution_version.as_str()), ("testix", "7"));
    assert_eq!(info.source, Source::Import);
    // The superseded one goes, unless a machine still uses it.
    let in_use = HashSet::from([first.digest()]);
    assert_eq!(environments.prune(&in_use).unwrap().deleted, Vec::<String>::new());
    assert_eq!(environments.prune(&HashSet::new()).unwrap().deleted.len(), 1);
    assert!(!first.directory.exists() && second.directory.exists());
}

#[test]
fn compressed_archives_and_directories_give_the_same_machine() {
    let house = House::new();
    let environments = house.environments();
    let plain = import(&environments, &house, "plain", "x");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &rootfs("x")).unwrap();
    let path = house.path().join("given.tar.gz");
    fs::write(&path, gzip.finish().unwrap()).unwrap();
    let packed =
        environments.import("packed", &ImportSource::at(path).unwrap(), &never(), &mut ignore).unwrap();
    assert_eq!(plain.digest(), packed.digest());

    let directory = house.path().join("unpacked");
    tar::Archive::new(rootfs("x").as_slice()).unpack(&directory).unwrap();
    let walked =
        environments.import("walked", &ImportSource::at(directory).unwrap(), &never(), &mut ignore).unwrap();
    assert_eq!(walked.record.files["vmlinux"].sha256, plain.record.files["vmlinux"].sha256);
    assert_eq!(walked.record.files["modules.cpio"].sha256, plain.record.files["modules.cpio"].sha256);
}

#[test]
fn unusable_archives_say_why_and_leave_nothing() {
    let house = House::new();
    let environments = house.environments();
    let whole = rootfs("x");
    for (contents, code) in [
        (b"no tar at all".to_vec(), "bad_rootfs"),
        (whole[..whole.len() / 2].to_vec(), "bad_rootfs"),
        (tar_of_one("etc/passwd"), "bad_kernel"),
    ] {
        let path = house.path().join("bad.tar");
        fs::write(&path, contents).unwrap();
        let error =
            environments.import("bad", &ImportSource::at(&path).unwrap(), &never(), &mut ignore).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(house.contents(), Vec::<String>::new());
    }
}

fn tar_of_one(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, io::empty()).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn damage_is_named_and_a_pull_mends_it() {
    let house = House::new();
    let environments = house.environments();
    let built = environments.ensure(NAME, &never(), &mut ignore).unwrap();
    let image = built.root_image();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().write(true).open(&image).unwrap();

    // A flip that keeps the time is found by `verify`; one that does not, at the next use.
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"flip", 5000).unwrap();
    file.set_modified(modified).unwrap();
    let verification = environments.verify(NAME).unwrap();
    let bad: Vec<_> =
        verification.files.iter().filter(|file| !file.is_sound()).map(|bad| &bad.file).collect();
    assert_eq!(bad, [&image]);
    file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
    assert!(matches!(environments.installed(NAME), Err(Error::Damaged { file, .. }) if file == image));

    file.set_len(4096).unwrap();
    assert!(matches!(environments.ensure(NAME, &never(), &mut ignore), Err(Error::Damaged { .. })));
    let mended = environments.pull(NAME, &never(), &mut ignore).unwrap();
    assert_eq!(mended.digest(), built.digest());
    assert!(environments.verify(NAME).unwrap().is_sound());

    fs::remove_file(mended.vmlinux()).unwrap();
    assert!(matches!(environments.installed(NAME), Err(Error::Damaged { .. })));
}

#[test]
fn ten_threads_and_three_processes_build_once() {
    let house = House::new();
    // The builder waits until every process says that it is about to ask.
    house.builder_does("while [ \"$(ls \"$house\"/asks-* 2>/dev/null | wc -l)\" -lt 3 ]; do sleep 0.05; done; cat \"$house/rootfs.tar\"");
    let children: Vec<_> = (0..3).map(|_| child(&house, "")).collect();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| house.environments().ensure(NAME, &never(), &mut ignore).unwrap());
        }
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(house.builder_runs(), 1);
    assert_eq!(house.contents().len(), 1);
}

#[test]
fn a_builder_killed_at_any_point_leaves_before_or_after() {
    for point in EnvironmentsConfig::FAULT_POINTS {
        let house = House::new();
        let status = child(&house, point).wait().unwrap();
        assert!(!status.success(), "{point} was not reached");
        let was_installed = *point == "environment.installed";
        assert_eq!(house.environments().installed(NAME).unwrap().is_some(), was_installed, "{point}");

        house.environments().ensure(NAME, &never(), &mut ignore).unwrap();
        assert!(house.environments().verify(NAME).unwrap().is_sound(), "{point}");
        assert_eq!(house.contents().len(), 1, "{point}");
        assert!(house.scratch_is_empty(), "{point}");
        assert_eq!(
            house.builder_runs(),
            if *point == "environment.archive-written" { 2 } else { 1 },
            "{point}"
        );
    }
}

#[test]
fn a_killed_builder_takes_its_descendants_along() {
    let house = House::new();
    // The first run hangs with the archive as its output; the second finishes.
    house.builder_does("if [ -e \"$house/hung\" ]; then cat \"$house/rootfs.tar\"; else : > \"$house/hung\"; : > \"$house/kill-me\"; sleep 600; fi");
    let mut builder = child(&house, "");
    wait_for(&house, "kill-me");
    builder.kill().unwrap();
    builder.wait().unwrap();
    house.environments().ensure(NAME, &never(), &mut ignore).unwrap();
    assert_eq!(house.builder_runs(), 2);
    assert_eq!(house.contents().len(), 1);
}

/// Level-triggered: looks first, then at every change of the directory.
fn wait_for(house: &House, name: &str) {
    use rustix::fs::inotify;
    let events = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&events, house.path(), inotify::WatchFlags::CREATE).unwrap();
    let mut buffer = [0_u8; 4096];
    while !house.path().join(name).exists() {
        rustix::io::read(&events, &mut buffer[..]).unwrap();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_stays() {
    for point in EnvironmentsConfig::FAULT_POINTS.iter().filter(|point| **point != "environment.installed") {
        let house = House::new();
        let full: pyro_environments::FaultPoint =
            Arc::new(
                move |reached| {
                    if reached == *point { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
                },
            );
        let environments =
            Environments::open(EnvironmentsConfig { fault_point: Some(full), ..house.config() }).unwrap();
        let error = environments.ensure(NAME, &never(), &mut ignore).unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{point}: {error}");
        assert_eq!(house.contents(), Vec::<String>::new(), "{point}");
        assert!(house.scratch_is_empty(), "{point}");
    }
    let house = House::new();
    house.builder_does("echo 'tar: write error: No space left on device' >&2; exit 2");
    let error = house.environments().ensure(NAME, &never(), &mut ignore).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
}

#[test]
fn a_failed_or_missing_builder_is_explained() {
    let house = House::new();
    house.builder_does("echo 'I: downloading packages with apt...' >&2; echo 'E: no route' >&2; exit 3");
    let Err(Error::BuildFailed { stage, log_tail, .. }) =
        house.environments().ensure(NAME, &never(), &mut ignore)
    else {
        panic!()
    };
    assert_eq!(stage, "downloading packages");
    assert!(log_tail.ends_with("E: no route"));
    assert_eq!(house.contents(), Vec::<String>::new());
    fs::remove_file(house.path().join("bin/mmdebstrap")).unwrap();
    let config = EnvironmentsConfig { program_path: vec![house.path().join("bin")], ..house.config() };
    let environments = Environments::open(config).unwrap();
    let Err(Error::MissingTool { mend, .. }) = environments.ensure(NAME, &never(), &mut ignore) else {
        panic!()
    };
    assert!(mend.contains("apt-get install"));
    let requirements = environments.requirements(pyro_environments::recipe(NAME).unwrap());
    assert!(requirements.iter().any(|need| need.name == "mmdebstrap" && !need.met && need.mend.is_some()));
}

#[test]
fn cancelling_ends_a_build() {
    let house = House::new();
    house.builder_does("echo hangs >&2; sleep 600");
    let cancel = never();
    let ended = house.environments().ensure(NAME, &cancel.clone(), &mut |progress| {
        if progress.phase == Phase::Starting && progress.detail.is_empty() {
            cancel.cancel();
        }
    });
    assert!(matches!(ended, Err(Error::Cancelled)));
    assert_eq!(house.contents(), Vec::<String>::new());
    assert!(house.scratch_is_empty());
}

#[test]
fn prune_removes_leftovers_and_remove_removes_a_name() {
    let house = House::new();
    let environments = house.environments();
    environments.ensure(NAME, &never(), &mut ignore).unwrap();
    let platform = house.path().join("cache/linux/amd64");
    for name in ["debian_12-base-0123456789abcdef", ".partial-debian_12", ".removed-x"] {
        fs::create_dir(platform.join(name)).unwrap();
    }
    let report = environments.prune(&HashSet::new()).unwrap();
    assert_eq!(report.deleted, [".partial-debian_12", ".removed-x", "debian_12-base-0123456789abcdef"]);
    assert!(environments.installed(NAME).unwrap().is_some());
    assert!(environments.remove(NAME, &never()).unwrap().freed_bytes > 300_000);
    assert_eq!(house.contents(), Vec::<String>::new());
    assert!(matches!(environments.remove("nothing", &never()), Err(Error::UnknownEnvironment { .. })));
}

#[test]
fn prune_never_takes_what_was_just_installed() {
    let house = House::new();
    let environments = house.environments();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                environments.prune(&HashSet::new()).unwrap();
            }
        });
        for at in 0..20 {
            let installed = import(&environments, &house, "mine", &at.to_string());
            assert_eq!(environments.installed("mine").unwrap(), Some(installed));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        pruner.join().unwrap();
    });
}

#[test]
fn a_new_agent_makes_a_new_initramfs_only() {
    let house = House::new();
    let environments = house.environments();
    let built = environments.ensure(NAME, &never(), &mut ignore).unwrap();
    let agent = house.path().join("agent");
    fs::write(&agent, "first").unwrap();
    let first = environments.boot_files(&built, &agent).unwrap();
    assert_eq!(environments.boot_files(&built, &agent).unwrap(), first);
    let bytes = fs::read(&first.initramfs).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let list = "/lib/modules/virtio_ring.ko\n/lib/modules/virtio.ko\n/lib/modules/virtio_mmio.ko\n";
    assert!(text.contains(list) && text.contains("module kernel/erofs.ko"));
    fs::write(&agent, "second").unwrap();
    let second = environments.boot_files(&built, &agent).unwrap();
    assert!(second.initramfs != first.initramfs && second.digest != first.digest);
    fs::write(&second.initramfs, "cut").unwrap();
    environments.boot_files(&built, &agent).unwrap();
    assert!(fs::read(&second.initramfs).unwrap().len() > 1000);
    assert_eq!(house.builder_runs(), 1);
}

#[test]
fn a_damaged_initramfs_is_joined_again() {
    let house = House::new();
    let environments = house.environments();
    let built = environments.ensure(NAME, &never(), &mut ignore).unwrap();
    let agent = house.path().join("agent");
    fs::write(&agent, "agent").unwrap();
    let initramfs = environments.boot_files(&built, &agent).unwrap().initramfs;
    let whole = fs::read(&initramfs).unwrap();
    let flip = |keep_time: bool| {
        let file = OpenOptions::new().write(true).open(&initramfs).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"flip", 200).unwrap();
        let later = std::time::Duration::from_secs(if keep_time { 0 } else { 1 });
        file.set_modified(modified + later).unwrap();
    };
    // Of the right length: found at the next use by its time, else by `verify`, and mended by a pull.
    flip(false);
    environments.boot_files(&built, &agent).unwrap();
    assert_eq!(fs::read(&initramfs).unwrap(), whole);
    assert!(environments.verify(NAME).unwrap().is_sound());
    flip(true);
    let verification = environments.verify(NAME).unwrap();
    let bad: Vec<_> =
        verification.files.iter().filter(|file| !file.is_sound()).map(|bad| &bad.file).collect();
    assert_eq!(bad, [&initramfs]);
    environments.pull(NAME, &never(), &mut ignore).unwrap();
    environments.boot_files(&built, &agent).unwrap();
    assert_eq!(fs::read(&initramfs).unwrap(), whole);
    assert!(environments.verify(NAME).unwrap().is_sound());
    assert_eq!(house.builder_runs(), 1);

    // Modules that are not what was recorded are not joined.
    let modules = built.directory.join("modules.cpio");
    fs::set_permissions(&modules, fs::Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().write(true).open(&modules).unwrap().write_all_at(b"flip", 200).unwrap();
    fs::remove_file(&initramfs).unwrap();
    let refused = environments.boot_files(&built, &agent);
    assert!(matches!(refused, Err(Error::Damaged { file, .. }) if file == modules));
}

#[test]
fn an_agent_is_read_once() {
    let house = House::new();
    let environments = house.environments();
    let built = environments.ensure(NAME, &never(), &mut ignore).unwrap();
    let agent = house.path().join("agent");
    fs::write(&agent, "first").unwrap();
    let first = environments.boot_files(&built, &agent).unwrap();
    // With its time set back, only reading it would tell; a clone of the cache knows as much.
    let modified = fs::metadata(&agent).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&agent).unwrap();
    file.write_all_at(b"other", 0).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(environments.clone().boot_files(&built, &agent).unwrap(), first);
    file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
    assert_ne!(environments.boot_files(&built, &agent).unwrap().digest, first.digest);
}

#[test]
fn prune_keeps_the_initramfs_of_the_current_agent_alone() {
    let house = House::new();
    let environments = house.environments();
    let built = environments.ensure(NAME, &never(), &mut ignore).unwrap();
    let agent = house.path().join("agent");
    let [old, new] = ["old", "newer"].map(|contents| {
        fs::write(&agent, contents).unwrap();
        environments.boot_files(&built, &agent).unwrap().initramfs
    });
    fs::write(new.with_extension("cpio.new"), "of a dead process").unwrap();
    // Which agent is current is not known to one who never asked.
    house.environments().prune(&HashSet::new()).unwrap();
    assert!(old.exists() && new.exists());
    let report = environments.prune(&HashSet::new()).unwrap();
    assert_eq!(report.deleted, [old.file_name().unwrap().to_str().unwrap()]);
    let left = fs::read_dir(new.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: std::collections::BTreeSet<_> = left.collect();
    let record = new.with_extension("json");
    assert_eq!(
        left,
        [".lock".as_ref(), new.file_name().unwrap(), record.file_name().unwrap()].map(Into::into).into()
    );
    assert_eq!(environments.boot_files(&built, &agent).unwrap().initramfs, new);
    environments.remove(NAME, &never()).unwrap();
    environments.prune(&HashSet::new()).unwrap();
    assert!(!new.exists() && !record.exists());
}

/// Runs `child_process` below in a process of its own.
fn child(house: &House, die_at: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process"])
        .env("HOUSE", house.path())
        .env("DIE_AT", die_at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The body of the child processes that other tests start; nothing by itself.
#[test]
fn child_process() {
    let Ok(directory) = std::env::var("HOUSE") else { return };
    let die_at = std::env::var("DIE_AT").unwrap();
    let house = House::at(directory);
    fs::write(house.path().join(format!("asks-{}", std::process::id())), "").unwrap();
    let die: pyro_environments::FaultPoint = Arc::new(move |reached| {
        if reached == die_at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        Ok(())
    });
    let environments =
        Environments::open(EnvironmentsConfig { fault_point: Some(die), ..house.config() }).unwrap();
    environments.ensure(NAME, &never(), &mut ignore).unwrap();
}
