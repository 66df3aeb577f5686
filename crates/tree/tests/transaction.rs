//! A transaction killed or failing at any step: the tree is as before or as after, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
};

use pyro_tree::{
    RelativePath, Root, Time,
    transaction::{
        Committed, Durability, Error, Hook, Kept, NewAttributes, Options, POINTS, Recovered, STAGING_NAME,
        Scratch, Spared, Transaction, Trust, crash, recover, settle,
    },
};
use support::describe_contents;

type Description = BTreeMap<Vec<u8>, String>;

fn at(path: &str) -> RelativePath {
    RelativePath::new(path).unwrap()
}

fn prepare(directory: &Path) {
    let write = |path: &str, text: &str, mode| {
        fs::write(directory.join(path), text).unwrap();
        fs::set_permissions(directory.join(path), fs::Permissions::from_mode(mode)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        fs::File::options().append(true).open(directory.join(path)).unwrap().set_modified(time).unwrap();
    };
    for path in ["kept", "sealed", "removed/deep", "becomes-file", "emptied", "filled"] {
        fs::create_dir_all(directory.join(path)).unwrap();
    }
    write("kept/replaced", "old", 0o750);
    write("kept/other", "other", 0o600);
    write("removed/deep/file", "gone", 0o644);
    write("becomes-file/file", "gone too", 0o644);
    write("emptied/last", "last", 0o644);
    write("filled/one", "one", 0o644);
    write("filled/two", "two", 0o644);
    write("script", "#!/bin/sh", 0o644);
    fs::hard_link(directory.join("kept/other"), directory.join("other-name")).unwrap();
    symlink("kept/other", directory.join("link")).unwrap();
    fs::set_permissions(directory.join("sealed"), fs::Permissions::from_mode(0o555)).unwrap();
    let time = Time { seconds: 1000, nanoseconds: 0 };
    Root::open(directory).unwrap().set_mtime(&at("link"), time).unwrap();
}

const MTIME: NewAttributes =
    NewAttributes { mode: None, owner: None, mtime: Some(Time { seconds: 5, nanoseconds: 7 }) };

fn change(root: &Root, hook: Hook<'_>) -> Result<Committed, Error> {
    let mut transaction = Transaction::begin(root, Trust::Owner, Options::default(), hook)?;
    let mode = |mode| NewAttributes { mode: Some(mode), ..MTIME };
    transaction.put_file(&at("kept/replaced"), &mut b"new".as_slice(), MTIME)?;
    transaction.put_file(&at("kept/added"), &mut b"added".as_slice(), mode(0o4711))?;
    transaction.put_file(&at("fresh/deep/file"), &mut b"fresh".as_slice(), MTIME)?;
    transaction.put_directory(&at("fresh/empty"), mode(0o555))?;
    transaction.put_symlink(&at("link"), b"../anywhere", MTIME)?;
    transaction.put_hard_link(&at("third-name"), &at("kept/other"))?;
    transaction.put_hard_link(&at("fresh/same"), &at("fresh/deep/file"))?;
    transaction.remove(&at("removed"))?;
    transaction.remove(&at("sealed"))?;
    transaction.put_file(&at("sealed"), &mut b"broken".as_slice(), MTIME)?;
    transaction.remove(&at("becomes-file"))?;
    transaction.put_file(&at("becomes-file"), &mut b"a file now".as_slice(), MTIME)?;
    transaction.remove(&at("emptied/last"))?;
    transaction.prune(&at("emptied"))?;
    transaction.remove(&at("filled/one"))?;
    transaction.prune(&at("filled"))?;
    transaction.set_attributes(&at("script"), mode(0o755))?;
    transaction.put_directory(&at("kept"), mode(0o711))?;
    transaction.put_directory(&at("read-only"), mode(0o500))?;
    transaction.commit()
}

struct Trial {
    directory: tempfile::TempDir,
    root: Root,
}

impl Trial {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let root = Root::open(directory.path()).unwrap();
        Self { directory, root }
    }

    fn describe(&self) -> Description {
        describe_contents(self.directory.path())
    }

    fn recover(&self) -> Recovered {
        recover(&self.root, Trust::Owner, Durability::Process, &|_| Ok(())).unwrap().outcome
    }

    fn inode(&self, path: &str) -> u64 {
        fs::symlink_metadata(self.directory.path().join(path)).unwrap().ino()
    }
}

fn before_and_after() -> (Description, Description) {
    let trial = Trial::new();
    let before = trial.describe();
    let committed = change(&trial.root, &|_| Ok(())).unwrap();
    assert_eq!(committed, Committed { placed: 8, removed: 5 });
    (before, trial.describe())
}

/// A hook that gives an error at the call of that number, and counts.
fn at_call(
    number: usize,
    error: fn() -> io::Error,
    calls: &Cell<usize>,
) -> impl Fn(&'static str) -> io::Result<()> {
    move |_| {
        calls.set(calls.get() + 1);
        if calls.get() == number { Err(error()) } else { Ok(()) }
    }
}

fn refuse() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

#[test]
fn the_change_itself() {
    let trial = Trial::new();
    let inode = trial.inode("kept");
    let points = std::cell::RefCell::new(BTreeSet::new());
    let hook = |point| {
        points.borrow_mut().insert(point);
        Ok(())
    };
    change(&trial.root, &hook).unwrap();
    let after = trial.describe();
    let text = |path: &str| after.get(path.as_bytes()).map(String::as_str);
    assert_eq!(text("kept/replaced"), Some("100750 5.000000007 new"));
    assert_eq!(text("kept/added"), Some("104711 5.000000007 added"));
    assert_eq!(text("fresh/deep/file"), Some("100644 5.000000007 fresh = fresh/deep/file"));
    assert_eq!(text("fresh/same"), Some("100644 5.000000007 fresh = fresh/deep/file"));
    assert_eq!(text("fresh/empty"), Some("40555"));
    assert_eq!(text("link"), Some("120777 5.000000007 -> ../anywhere"));
    assert_eq!(text("third-name"), Some("100600 1000.000000000 other = kept/other"));
    assert_eq!(text("becomes-file"), Some("100644 5.000000007 a file now"));
    assert_eq!(text("sealed"), Some("100644 5.000000007 broken"));
    assert_eq!((text("removed"), text("emptied")), (None, None));
    assert_eq!((text("filled"), text("filled/two").is_some()), (Some("40755"), true));
    assert_eq!(text("script"), Some("100755 5.000000007 #!/bin/sh"));
    assert_eq!((text("kept"), text("read-only")), (Some("40711"), Some("40500")));
    assert_eq!(trial.inode("kept"), inode);
    assert!(!trial.directory.path().join(STAGING_NAME).exists());
    assert_eq!(points.borrow().len(), POINTS.len() - 2, "all points but those of undoing are reached");
}

#[test]
fn death_at_any_point_and_again_while_recovering() {
    let (before, after) = before_and_after();
    let mut outcomes = BTreeSet::new();
    for number in 1.. {
        for second in [0, 1, 2, 5, 9, 14] {
            let trial = Trial::new();
            let calls = Cell::new(0);
            let result = change(&trial.root, &at_call(number, crash, &calls));
            if calls.get() < number {
                result.unwrap();
                assert_eq!(outcomes.len(), 2);
                return;
            }
            assert!(matches!(result, Err(Error::Crashed)), "{number}: {result:?}");
            let calls = Cell::new(0);
            let _died =
                recover(&trial.root, Trust::Owner, Durability::Process, &at_call(second, crash, &calls));
            let recovered = trial.recover();
            outcomes.insert(trial.describe() == after);
            assert!([&before, &after].contains(&&trial.describe()), "{number} {second} {recovered:?}");
            assert_eq!(trial.recover(), Recovered::Nothing);
        }
    }
}

#[test]
fn failure_at_any_point_and_death_while_undoing() {
    let (before, after) = before_and_after();
    for number in 1.. {
        for second in [0, 1, 2, 4, 9, 20] {
            let trial = Trial::new();
            let inode = trial.inode("kept/replaced");
            let (calls, later) = (Cell::new(0), Cell::new(0));
            let (fail, die) = (at_call(number, refuse, &calls), at_call(second, crash, &later));
            let hook = |point| {
                fail(point)?;
                if calls.get() > number { die(point) } else { Ok(()) }
            };
            let result = change(&trial.root, &hook);
            if calls.get() < number {
                return;
            }
            if result.is_ok() {
                // Only cleaning failed, which is made up for later.
                trial.recover();
                assert_eq!(trial.describe(), after, "{number}");
                continue;
            }
            let recovered = trial.recover();
            if matches!(result, Err(Error::Crashed)) && recovered == Recovered::Completed {
                // It died before it could write down that it had failed.
                assert_eq!(trial.describe(), after, "{number} {second}");
                continue;
            }
            assert_eq!(trial.describe(), before, "{number} {second} {result:?}");
            assert_eq!(trial.inode("kept/replaced"), inode);
        }
    }
}

#[test]
fn a_killed_process() {
    let (before, after) = before_and_after();
    for number in (1..).step_by(3) {
        let trial = Trial::new();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_of_a_killed_process", "--test-threads=1"])
            .env("PYRO_TREE_CHILD", trial.directory.path())
            .env("PYRO_TREE_KILL_AT", number.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            assert_eq!(trial.describe(), after);
            return;
        }
        assert_eq!(status.signal(), Some(9), "{status}");
        trial.recover();
        assert!([&before, &after].contains(&&trial.describe()), "{number}");
    }
}

/// Runs only as the child of the test above.
#[test]
fn child_of_a_killed_process() {
    let Some(directory) = std::env::var_os("PYRO_TREE_CHILD") else { return };
    let number: usize = std::env::var("PYRO_TREE_KILL_AT").unwrap().parse().unwrap();
    let calls = Cell::new(0);
    let hook = |_| {
        calls.set(calls.get() + 1);
        if calls.get() == number {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        }
        Ok(())
    };
    change(&Root::open(Path::new(&directory)).unwrap(), &hook).unwrap();
}

#[test]
fn dropped_without_commit() {
    let trial = Trial::new();
    let before = trial.describe();
    let mut transaction =
        Transaction::begin(&trial.root, Trust::Owner, Options::default(), &|_| Ok(())).unwrap();
    transaction.put_file(&at("kept/replaced"), &mut b"new".as_slice(), MTIME).unwrap();
    assert!(matches!(recover(&trial.root, Trust::Owner, Durability::Process, &|_| Ok(())), Err(Error::Busy)));
    let second = Transaction::begin(&trial.root, Trust::Owner, Options::default(), &|_| Ok(()));
    assert!(matches!(second, Err(Error::Busy)));
    drop(transaction);
    assert_eq!(trial.describe(), before);
}

#[test]
fn somebody_else_meanwhile() {
    for disturb in [
        (|path| fs::write(path.join("kept/replaced"), "theirs").unwrap()) as fn(&Path),
        |path| fs::write(path.join("kept/added"), "theirs").unwrap(),
        |path| fs::remove_file(path.join("emptied/last")).unwrap(),
        |path| fs::rename(path.join("removed"), path.join("elsewhere")).unwrap(),
        |path| fs::write(path.join("fresh"), "theirs").unwrap(),
        |path| fs::write(path.join("removed/deep/another"), "theirs").unwrap(),
        |path| fs::write(path.join("removed/deep/file"), "theirs").unwrap(),
    ] {
        // Before the last look: refused.
        let trial = Trial::new();
        let path = trial.directory.path();
        let disturbed = Cell::new(None);
        let hook = |point| {
            if point == "transaction-verify" {
                disturb(path);
                disturbed.set(Some(describe_contents(path)));
            }
            Ok(())
        };
        let error = change(&trial.root, &hook).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error:?}");
        let mut disturbed = disturbed.take().unwrap();
        disturbed.retain(|name, _| !name.starts_with(STAGING_NAME.as_bytes()));
        // While it was staged the old file had a second name.
        let theirs = |description: &Description| -> Vec<_> {
            description
                .iter()
                .map(|(name, text)| (name.clone(), text.split(" = ").next().unwrap().to_owned()))
                .collect()
        };
        assert_eq!(theirs(&trial.describe()), theirs(&disturbed));
    }
    // After it: what would be lost is not, and all is taken back.
    let trial = Trial::new();
    let hook = |point| {
        if point == "transaction-journal-commit" {
            fs::write(trial.directory.path().join("kept/added"), "theirs").unwrap();
        }
        Ok(())
    };
    let error = change(&trial.root, &hook).unwrap_err();
    assert!(matches!(&error, Error::Changed { path } if *path == at("kept/added")), "{error:?}");
    assert_eq!(fs::read(trial.directory.path().join("kept/added")).unwrap(), b"theirs");
    assert_eq!(fs::read(trial.directory.path().join("kept/replaced")).unwrap(), b"old");
    assert!(!trial.directory.path().join(STAGING_NAME).exists());
}

#[test]
fn what_cannot_be_changed() {
    let trial = Trial::new();
    let before = trial.describe();
    let mut transaction =
        Transaction::begin(&trial.root, Trust::Owner, Options::default(), &|_| Ok(())).unwrap();
    let mut put =
        |path: &str| transaction.put_file(&at(path), &mut b"x".as_slice(), MTIME).unwrap_err().to_string();
    assert_eq!(
        put(".pyro-transaction/journal"),
        "`.pyro-transaction/journal`: the name `.pyro-transaction` is reserved"
    );
    assert_eq!(put("kept"), "`kept` is a directory");
    assert_eq!(put("script/below"), "`script` is a regular file");
    assert_eq!(put("link/below"), "`link` is a symbolic link");
    let mut remove = |path: &str| transaction.remove(&at(path)).unwrap_err().to_string();
    assert_eq!(remove("nothing"), "`nothing` does not exist");
    assert_eq!(remove("."), "`.` is a whole tree");
    transaction.put_file(&at("new/file"), &mut b"x".as_slice(), MTIME).unwrap();
    let put = transaction.put_directory(&at("new/file"), MTIME).unwrap_err().to_string();
    assert_eq!(put, "`new/file` is a regular file");
    let put = transaction.put_file(&at("new/file/below"), &mut b"x".as_slice(), MTIME).unwrap_err();
    assert_eq!(put.to_string(), "`new/file` is a regular file");
    transaction.put_file(&at("kept/new"), &mut b"x".as_slice(), MTIME).unwrap();
    assert!(matches!(transaction.remove(&at("kept")), Err(Error::Twice { .. })));
    assert!(matches!(transaction.put_symlink(&at("kept/new"), b"x", MTIME), Err(Error::Twice { .. })));
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert!(transaction.put_file(&at("cut"), &mut Broken, MTIME).is_err());
    assert!(matches!(transaction.commit(), Err(Error::Incomplete)));
    assert_eq!(trial.describe(), before);
}

#[test]
fn what_cannot_have_its_name_again_is_set_aside() {
    let trial = Trial::new();
    let path = trial.directory.path();
    let hook = |point| {
        if point != "transaction-journal-remove" || !path.join(STAGING_NAME).join("journal").exists() {
            return Ok(());
        }
        fs::create_dir_all(path.join("removed")).unwrap();
        fs::write(path.join("removed.pyro-old"), "theirs").unwrap();
        fs::remove_file(path.join("kept/replaced")).unwrap();
        fs::create_dir_all(path.join("kept/replaced/theirs")).unwrap();
        fs::remove_dir_all(path.join("filled")).unwrap();
        symlink("kept", path.join("filled")).unwrap();
        Err(refuse())
    };
    let error = change(&trial.root, &hook).unwrap_err();
    let Error::Spared { spared, more: 2, .. } = &error else { panic!("{error:?}") };
    let kept = Some(Kept::Old(at("one.pyro-old")));
    assert_eq!(**spared, Spared { path: at("filled/one"), kept }, "{error}");
    assert_eq!(trial.recover(), Recovered::Nothing);
    let text = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert_eq!((text("one.pyro-old"), text("removed.pyro-old")), ("one".into(), "theirs".into()));
    assert_eq!(text("removed.pyro-old-2/deep/file"), "gone");
    assert_eq!(text("kept/replaced.pyro-old"), "old");
    assert!(path.join("removed").exists() && path.join("kept/replaced/theirs").exists());
    assert_eq!((text("becomes-file/file"), text("emptied/last")), ("gone too".into(), "last".into()));
    change(&trial.root, &|_| Ok(())).unwrap_err();
    assert!(!path.join(STAGING_NAME).exists(), "the next one is not kept out");
}

#[test]
fn death_at_every_point_of_undoing() {
    let (before, _after) = before_and_after();
    for number in 1.. {
        let trial = Trial::new();
        fs::set_permissions(trial.directory.path().join("emptied"), fs::Permissions::from_mode(0o2755))
            .unwrap();
        let before = Description::from_iter(before.clone().into_iter().map(|(path, text)| {
            let text = if path == b"emptied" { text.replacen("40755", "42755", 1) } else { text };
            (path, text)
        }));
        let later = Cell::new(0);
        let die = at_call(number, crash, &later);
        let is_failed = Cell::new(false);
        let hook = |point| {
            if is_failed.get() {
                return if point == "transaction-undo-step" { die(point) } else { Ok(()) };
            }
            is_failed.set(point == "transaction-journal-remove");
            if is_failed.get() { Err(refuse()) } else { Ok(()) }
        };
        change(&trial.root, &hook).unwrap_err();
        trial.recover();
        assert_eq!(trial.describe(), before, "{number}");
        if later.get() < number {
            return;
        }
    }
}

#[test]
fn what_is_made_aside_goes_with_its_maker_or_with_the_next_who_cleans_up() {
    let trial = Trial::new();
    let staging = trial.directory.path().join(STAGING_NAME);
    let scratch = Scratch::new(&trial.root).unwrap();
    scratch.directory().make_directories(&at("half/made"), 0o755).unwrap();
    change(&trial.root, &|_| Ok(())).unwrap();
    trial.recover();
    assert_eq!(scratch.directory().list(&RelativePath::root()).unwrap().len(), 1, "its maker lives");
    drop(scratch);
    assert!(!staging.exists());
    fs::create_dir_all(staging.join("aside-1/half/made")).unwrap();
    assert_eq!(trial.recover(), Recovered::Discarded);
    assert!(!staging.exists());
}

#[test]
fn who_settles_waits_for_the_steps_of_the_living_and_does_those_of_the_dead() {
    let trial = Trial::new();
    let root = &trial.root;
    let settle = || settle(root, Trust::Owner, Durability::Process, &|_point| Ok(())).unwrap();
    let file = &trial.directory.path().join("kept/replaced");
    let replace = |hook: Hook<'_>| {
        let mut transaction = Transaction::begin(root, Trust::Owner, Options::default(), hook).unwrap();
        transaction.put_file(&at("kept/replaced"), &mut b"new".as_slice(), MTIME).unwrap();
        // Nobody waits for what is only being prepared.
        settle();
        transaction.commit()
    };
    let (is_decided, decided) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    thread::scope(|scope| {
        let settled = scope.spawn(move || {
            decided.recv().unwrap();
            go_on.send(()).unwrap();
            settle();
            fs::read(file).unwrap()
        });
        replace(&|point| {
            if point == "transaction-place" {
                is_decided.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(settled.join().unwrap(), b"new");
    });
    fs::write(file, "old").unwrap();
    replace(&|point| if point == "transaction-place" { Err(crash()) } else { Ok(()) }).unwrap_err();
    assert_eq!(fs::read(file).unwrap(), b"old");
    settle();
    assert_eq!(fs::read(file).unwrap(), b"new");
    assert!(!trial.directory.path().join(STAGING_NAME).exists());
}

#[test]
fn a_staging_that_is_not_ours() {
    let trial = Trial::new();
    symlink("/tmp", trial.directory.path().join(STAGING_NAME)).unwrap();
    assert!(matches!(
        recover(&trial.root, Trust::Owner, Durability::Process, &|_| Ok(())),
        Err(Error::Foreign)
    ));
    assert!(matches!(change(&trial.root, &|_| Ok(())), Err(Error::Foreign)));
    let staging = trial.directory.path().join(STAGING_NAME);
    fs::remove_file(&staging).unwrap();
    fs::create_dir(&staging).unwrap();
    let set_mode = |mode| fs::set_permissions(&staging, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o770);
    assert!(
        matches!(change(&trial.root, &|_| Ok(())), Err(Error::Foreign)),
        "others may write a journal there"
    );
    set_mode(0o700);
    fs::write(trial.directory.path().join(STAGING_NAME).join("journal"), "nonsense").unwrap();
    assert!(matches!(
        recover(&trial.root, Trust::Owner, Durability::Process, &|_| Ok(())),
        Err(Error::BadJournal)
    ));
}

#[test]
fn flushed_to_the_disk() {
    let trial = Trial::new();
    let options = Options { durability: Durability::Machine, owner: None };
    let mut transaction = Transaction::begin(&trial.root, Trust::Owner, options, &|_| Ok(())).unwrap();
    transaction.put_file(&at("kept/replaced"), &mut b"new".as_slice(), MTIME).unwrap();
    transaction.commit().unwrap();
    assert_eq!(fs::read(trial.directory.path().join("kept/replaced")).unwrap(), b"new");
}
