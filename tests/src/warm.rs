//! Makes once what nearly every test starts from: the environment and a template for the default machine.
//!
//! Both lie in the cache directory and outlive the test process, so a second run of the suite starts at once.
//! The template's home is named after the binary under test: a new build gets a new one, the old one is removed.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    hash::Hasher,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rustix::fs::{FlockOperation, flock};

use crate::{Home, Settings};

/// What is warm.
#[derive(Debug)]
pub struct Warm {
    /// Installed environments, shared by all homes and never written by a test.
    pub environments: PathBuf,
    /// `PYRO_HOME` whose templates are handed out.
    pub home: PathBuf,
}

static WARM: LazyLock<Result<Warm, String>> = LazyLock::new(Warm::up);
static CLAIM: LazyLock<Result<Claim, String>> = LazyLock::new(Claim::stake);

/// What is warm; the first caller makes it. Fails the test if it cannot be made.
#[track_caller]
pub fn warm() -> &'static Warm {
    match &*WARM {
        Ok(warm) => warm,
        Err(why) => panic!("{why}"),
    }
}

/// The directory in which tests have their homes: on the file system of the cache, for the sake of hard links.
#[track_caller]
pub(crate) fn place_of_homes() -> PathBuf {
    match &*CLAIM {
        Ok(claim) => claim.homes.clone(),
        Err(why) => panic!("{why}"),
    }
}

/// The right to use the cache, held for the life of this process: nobody may clear away the homes of running tests.
#[derive(Debug)]
struct Claim {
    homes: PathBuf,
    _in_use: File,
}

impl Claim {
    fn stake() -> Result<Self, String> {
        let cache = &Settings::get().cache;
        let homes = cache.join("homes");
        let unusable = |error: &dyn std::fmt::Display| {
            format!(
                "cannot use `{}`: {error}; set PYRO_TEST_HOME to a directory of this user",
                cache.display()
            )
        };
        fs::create_dir_all(cache).map_err(|error| unusable(&error))?;
        let in_use = open(&cache.join("in-use.lock")).map_err(|error| unusable(&error))?;
        if flock(&in_use, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Nobody else tests: whatever homes are there belonged to tests that were killed.
            drop(fs::remove_dir_all(&homes));
        }
        flock(&in_use, FlockOperation::LockShared).map_err(|error| unusable(&error))?;
        fs::create_dir_all(&homes).map_err(|error| unusable(&error))?;
        Ok(Self { homes, _in_use: in_use })
    }
}

impl Warm {
    fn up() -> Result<Self, String> {
        let cache = &Settings::get().cache;
        place_of_homes();
        let lock = open(&cache.join("warm.lock")).map_err(|error| format!("lock the warm cache: {error}"))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| format!("lock the warm cache: {error}"))?;
        let home = cache.join(format!("home-{}", fingerprint(&Settings::get().pyro)?));
        let warm = Self { environments: cache.join("environments"), home };
        warm.remove_older_homes(cache);
        warm.make()?;
        Ok(warm)
    }

    /// One run makes everything that is missing.
    fn make(&self) -> Result<(), String> {
        let home = Home::for_warming(self);
        let outcome = home.run(["true"]).patience_s(1800).output();
        if outcome.code() == 0 {
            return Ok(());
        }
        Err(format!(
            "no machine can be started here; `cargo xtask test` prepares a host and `pyro doctor` says what it lacks.\n{outcome}"
        ))
    }

    fn remove_older_homes(&self, cache: &Path) {
        for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
            let is_home = entry.file_name().to_string_lossy().starts_with("home-");
            if is_home && entry.path() != self.home {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }

    /// Gives another home the templates, as hard links: they are never written to.
    pub(crate) fn give_templates(&self, templates: &Path) {
        link_tree(&self.home.join("data/templates"), templates);
    }
}

/// Makes `to` a tree of hard links to the files of `from`, with the same modes of directories. Locks are not linked: who holds
/// one there holds nothing here.
pub fn link_tree(from: &Path, to: &Path) {
    let failed = |error| panic!("cannot link `{}` to `{}`: {error}", from.display(), to.display());
    fs::create_dir_all(to).unwrap_or_else(failed);
    let permissions =
        fs::metadata(from).unwrap_or_else(|error| panic!("`{}`: {error}", from.display())).permissions();
    fs::set_permissions(to, permissions).unwrap_or_else(failed);
    for entry in fs::read_dir(from).expect("a readable directory").flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("the kind of a file");
        if kind.is_dir() {
            link_tree(&source, &target);
        } else if kind.is_file() && !is_lock(&entry.file_name()) {
            fs::hard_link(&source, &target).unwrap_or_else(failed);
        } else if kind.is_symlink() {
            let target_of_link = fs::read_link(&source).expect("a readable link");
            std::os::unix::fs::symlink(target_of_link, &target).unwrap_or_else(failed);
        }
    }
}

fn is_lock(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.ends_with(".lock") || name.starts_with(".lock")
}

/// Replaces a hard link by a copy of the file, so that it can be damaged without harm to the others.
pub fn unshare_file(path: &Path) {
    let copy = path.with_extension("own-copy");
    let status = std::process::Command::new("cp").arg("--sparse=always").arg(path).arg(&copy).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy `{}`", path.display());
    // What the program installs is read-only, also to its owner.
    fs::set_permissions(&copy, Permissions::from_mode(0o600)).unwrap_or_else(|error| panic!("{error}"));
    fs::rename(&copy, path).unwrap_or_else(|error| panic!("cannot replace `{}`: {error}", path.display()));
}

/// Tells one build of the program from another, wherever it was copied to.
fn fingerprint(pyro: &Path) -> Result<String, String> {
    let bytes = fs::read(pyro).map_err(|error| format!("`{}`: {error}", pyro.display()))?;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&bytes);
    Ok(format!("{:016x}", hasher.finish()))
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}
