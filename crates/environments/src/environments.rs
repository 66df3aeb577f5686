//! The cache of environments, and everything that can be done with it.
//!
//! ```text
//! CACHE/linux/amd64/NAME-KEY/{vmlinux,modules.cpio,root.img,environment.json}   installed, never changed
//! CACHE/linux/amd64/.partial-NAME/                                              being built
//! CACHE/linux/amd64/.lock-NAME                                                  held by its builder
//! CACHE/linux/amd64/.initramfs/                                                 joined with an agent
//! CACHE/linux/amd64/.removed-ANYTHING                                           being removed
//! ```
//!
//! All calls block; they may come from any number of threads and processes at once.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    Cancellation, EnvironmentsConfig, Error, ImportSource, Progress, Result, Source,
    boot::{Agent, expect_digest},
    build::{Build, Origin, partial_name},
    catalogue::{CATALOGUE, PLATFORM, Recipe, recipe},
    digest::{Digest, sha256_of_file},
    joined::Joining,
    lock::Lock,
    name::EnvironmentName,
    progress::Reporter,
    prune::{PruneReport, delete},
    record::{self, EnvironmentRecord},
};

pub(crate) const INITRAMFS_DIR: &str = ".initramfs";

/// The environments of one cache directory.
#[derive(Clone, Debug)]
pub struct Environments {
    pub(crate) config: EnvironmentsConfig,
    pub(crate) platform_dir: PathBuf,
    /// Shared by all clones.
    pub(crate) agent: Arc<Mutex<Option<Agent>>>,
}

/// An installed environment whose files had their recorded sizes a moment ago.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Environment {
    /// Its directory.
    pub directory: PathBuf,
    /// Its record.
    pub record: EnvironmentRecord,
}

impl Environment {
    /// Digest of kernel, modules and root image together.
    pub fn digest(&self) -> Digest {
        self.record.digest()
    }

    /// The ELF kernel.
    pub fn vmlinux(&self) -> PathBuf {
        self.directory.join(record::VMLINUX)
    }

    /// The read-only root image.
    pub fn root_image(&self) -> PathBuf {
        self.directory.join(record::ROOT_IMAGE)
    }

    /// Digest of the root image, as it was recorded.
    pub fn root_image_digest(&self) -> Option<&Digest> {
        self.record.files.get(record::ROOT_IMAGE).map(|file| &file.sha256)
    }

    /// The archive of its modules, which must be what was recorded.
    pub(crate) fn modules(&self) -> Result<Vec<u8>> {
        let path = self.directory.join(record::MODULES);
        let contents = fs::read(&path).map_err(Error::io("read", &path))?;
        if let Some(recorded) = self.record.files.get(record::MODULES) {
            expect_digest(&path, &contents, &recorded.sha256)?;
        }
        Ok(contents)
    }
}

/// What is known of one environment, installed or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvironmentInfo {
    /// Its name.
    pub name: String,
    /// Version of the recipe or import.
    pub version: String,
    /// One line for people.
    pub description: String,
    /// Packages that users may count on.
    pub default_packages: Vec<String>,
    /// Distribution.
    pub distribution: String,
    /// Its version.
    pub distribution_version: String,
    /// Platform key.
    pub platform: String,
    /// Where it comes from.
    pub source: Source,
    /// Digest of the rootfs archive, once installed.
    pub source_digest: Option<Digest>,
    /// Whether it is installed.
    pub installed: bool,
    /// The cache directory.
    pub cache_dir: PathBuf,
    /// Where it is, or will be.
    pub install_dir: PathBuf,
    /// Its `environment.json`, once installed.
    pub install_manifest: Option<PathBuf>,
}

/// One file of a [`Verification`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedFile {
    /// The file.
    pub file: PathBuf,
    /// Recorded size.
    pub size_bytes: u64,
    /// Recorded digest.
    pub expected: Digest,
    /// The digest now; `Err` says why there is none.
    pub found: std::result::Result<Digest, String>,
}

impl VerifiedFile {
    /// Whether the file is what was recorded.
    pub fn is_sound(&self) -> bool {
        self.found.as_ref() == Ok(&self.expected)
    }
}

/// Every file of an environment, read again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// The environment.
    pub name: String,
    /// Its files, by name.
    pub files: Vec<VerifiedFile>,
}

impl Verification {
    /// Whether every file is what was recorded.
    pub fn is_sound(&self) -> bool {
        self.files.iter().all(VerifiedFile::is_sound)
    }
}

impl Environments {
    /// Opens the cache and makes its directories.
    pub fn open(config: EnvironmentsConfig) -> Result<Self> {
        let platform_dir = config.cache_dir.join(PLATFORM);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&platform_dir)
            .map_err(Error::io("create", &platform_dir))?;
        Ok(Self { config, platform_dir, agent: Arc::default() })
    }

    /// Everything that can be asked for: the catalogue and what was imported, sorted by name.
    pub fn list(&self) -> Vec<EnvironmentInfo> {
        self.known_names().iter().filter_map(|name| self.info(name)).collect()
    }

    /// What is known of `name`.
    pub fn inspect(&self, name: &str) -> Result<EnvironmentInfo> {
        EnvironmentName::parse(name)?;
        self.info(name).ok_or_else(|| self.unknown(name))
    }

    /// The installed environment, if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a file has not its recorded size; [`pull`](Self::pull) mends that.
    pub fn installed(&self, name: &str) -> Result<Option<Environment>> {
        EnvironmentName::parse(name)?;
        let Some(environment) = self.current(name) else {
            return if recipe(name).is_some() { Ok(None) } else { Err(self.unknown(name)) };
        };
        environment.record.check(&environment.directory)?;
        Ok(Some(environment))
    }

    /// The installed environment, built first when it is not there. When several callers ask at once, one
    /// builds; the others see its progress and get the result.
    pub fn ensure(
        &self,
        name: &str,
        cancel: &Cancellation,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Environment> {
        match self.installed(name)? {
            Some(environment) => Ok(environment),
            None => self.build_from_recipe(name, cancel, progress, |built| built.installed(name)),
        }
    }

    /// As [`ensure`](Self::ensure), but an installed environment is read through first, and a damaged one is built anew.
    /// A damaged initramfs is removed; the next machine brings a new one.
    pub fn pull(
        &self,
        name: &str,
        cancel: &Cancellation,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Environment> {
        EnvironmentName::parse(name)?;
        let sound = |here: &Self| -> Result<Option<Environment>> {
            Ok(here.current(name).filter(|environment| verify(environment).is_sound()))
        };
        match sound(self)? {
            Some(environment) => {
                self.remove_damaged_initramfs(&environment)?;
                Ok(environment)
            }
            None => self.build_from_recipe(name, cancel, progress, sound),
        }
    }

    /// Makes `source` the environment `name`. It replaces an earlier import of that name, and goes before the
    /// catalogue's recipe of that name, so that a host without a package manager can have `debian:12` as well.
    pub fn import(
        &self,
        name: &str,
        source: &ImportSource,
        cancel: &Cancellation,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Environment> {
        let name = EnvironmentName::parse(name)?;
        let lock = Lock::acquire(&self.lock_path(&name), cancel, progress)?;
        self.build(&name, Origin::Import(source), &lock, cancel, progress)
    }

    /// Reads every file of the installed environment again, and what was joined of it and an agent, and compares
    /// digests.
    pub fn verify(&self, name: &str) -> Result<Verification> {
        EnvironmentName::parse(name)?;
        let environment = self.current(name).ok_or_else(|| self.unknown(name))?;
        let mut verification = verify(&environment);
        if let Some(joining) = Joining::begin_if_any(&self.platform_dir)? {
            verification.files.extend(joining.verify(&environment.digest()));
        }
        Ok(verification)
    }

    fn remove_damaged_initramfs(&self, environment: &Environment) -> Result<()> {
        let Some(joining) = Joining::begin_if_any(&self.platform_dir)? else { return Ok(()) };
        let files = joining.verify(&environment.digest());
        files.iter().filter(|file| !file.is_sound()).try_for_each(|damaged| joining.remove(&damaged.file))
    }

    /// Removes everything installed under `name`. Whether a machine uses it is the caller's to know.
    pub fn remove(&self, name: &str, cancel: &Cancellation) -> Result<PruneReport> {
        let parsed = EnvironmentName::parse(name)?;
        let _lock = Lock::acquire(&self.lock_path(&parsed), cancel, &mut |_| ())?;
        let doomed: Vec<_> =
            self.all().into_iter().filter(|environment| environment.record.name == name).collect();
        if doomed.is_empty() && recipe(name).is_none() {
            return Err(self.unknown(name));
        }
        let mut report = PruneReport::default();
        for environment in doomed {
            delete(&environment.directory, &mut report)?;
        }
        Ok(report)
    }

    fn build_from_recipe(
        &self,
        name: &str,
        cancel: &Cancellation,
        progress: &mut dyn FnMut(&Progress),
        is_there: impl Fn(&Self) -> Result<Option<Environment>>,
    ) -> Result<Environment> {
        let parsed = EnvironmentName::parse(name)?;
        let lock = Lock::acquire(&self.lock_path(&parsed), cancel, progress)?;
        if let Some(environment) = is_there(self)? {
            return Ok(environment);
        }
        if let Some(imported) = self.current(name).filter(|current| current.record.source == Source::Import) {
            // It is damaged, and only the user has what it was made from.
            let first = verify(&imported).files.into_iter().find(|file| !file.is_sound());
            return Err(first.map_or_else(|| self.unknown(name), damaged));
        }
        let recipe = recipe(name).ok_or_else(|| self.unknown(name))?;
        self.build(&parsed, Origin::Recipe(recipe), &lock, cancel, progress)
    }

    fn build(
        &self,
        name: &EnvironmentName,
        origin: Origin<'_>,
        lock: &Lock,
        cancel: &Cancellation,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Environment> {
        let mut both = |report: &Progress| {
            lock.publish(report);
            progress(report);
        };
        let build = Build {
            config: &self.config,
            platform_dir: &self.platform_dir,
            name,
            origin,
            newer_than_unix_ms: self
                .current(name.as_str())
                .map_or(0, |current| current.record.created_unix_ms),
            cancel,
        };
        let directory = build.run(&mut Reporter::new(&mut both))?;
        let record = EnvironmentRecord::load(&directory).ok_or_else(|| self.unknown(name.as_str()))?;
        Ok(Environment { directory, record })
    }

    fn info(&self, name: &str) -> Option<EnvironmentInfo> {
        if let Some(Environment { directory, record }) = self.current(name) {
            return Some(EnvironmentInfo {
                name: record.name,
                version: record.version,
                description: record.description,
                default_packages: record.default_packages,
                distribution: record.distribution,
                distribution_version: record.distribution_version,
                platform: record.platform,
                source: record.source,
                source_digest: Some(record.source_digest),
                installed: true,
                cache_dir: self.config.cache_dir.clone(),
                install_manifest: Some(directory.join(record::RECORD)),
                install_dir: directory,
            });
        }
        let recipe = recipe(name)?;
        let parsed = EnvironmentName::parse(name).ok()?;
        Some(EnvironmentInfo {
            name: recipe.name.to_owned(),
            version: recipe.version.to_owned(),
            description: recipe.description.to_owned(),
            default_packages: recipe.default_packages.iter().map(ToString::to_string).collect(),
            distribution: recipe.distribution.to_owned(),
            distribution_version: recipe.distribution_version.to_owned(),
            platform: PLATFORM.to_owned(),
            source: Source::Mmdebstrap,
            source_digest: None,
            installed: false,
            cache_dir: self.config.cache_dir.clone(),
            install_dir: self.platform_dir.join(format!("{}-{}", parsed.for_path(), recipe.digest().short())),
            install_manifest: None,
        })
    }

    /// The directory that counts for `name`: the newest import or build of the present recipe.
    pub(crate) fn current(&self, name: &str) -> Option<Environment> {
        let present = recipe(name).map(Recipe::digest);
        self.all()
            .into_iter()
            .filter(|Environment { record, .. }| {
                let is_present = record.recipe_digest.is_some() && record.recipe_digest == present;
                record.name == name && (record.source == Source::Import || is_present)
            })
            .max_by_key(|environment| environment.record.created_unix_ms)
    }

    pub(crate) fn all(&self) -> Vec<Environment> {
        entries(&self.platform_dir)
            .into_iter()
            .filter(|path| !is_hidden(path))
            .filter_map(|directory| {
                Some(Environment { record: EnvironmentRecord::load(&directory)?, directory })
            })
            .collect()
    }

    fn known_names(&self) -> BTreeSet<String> {
        let imported = self
            .all()
            .into_iter()
            .filter(|known| known.record.source == Source::Import)
            .map(|known| known.record.name);
        CATALOGUE.iter().map(|recipe| recipe.name.to_owned()).chain(imported).collect()
    }

    fn unknown(&self, name: &str) -> Error {
        Error::UnknownEnvironment { name: name.to_owned(), known: self.known_names().into_iter().collect() }
    }

    pub(crate) fn lock_path(&self, name: &EnvironmentName) -> PathBuf {
        self.platform_dir.join(format!(".lock-{}", name.for_path()))
    }

    /// Where `name` would be built; for `doctor`, which says what a dead builder left.
    pub fn partial_dir(&self, name: &str) -> Result<PathBuf> {
        Ok(self.platform_dir.join(partial_name(&EnvironmentName::parse(name)?)))
    }
}

fn verify(environment: &Environment) -> Verification {
    let files = environment
        .record
        .files
        .iter()
        .map(|(name, expected)| {
            let file = environment.directory.join(name);
            let found = sha256_of_file(&file, |_| Ok(())).map_err(|error| error.to_string());
            VerifiedFile { file, size_bytes: expected.size_bytes, expected: expected.sha256.clone(), found }
        })
        .collect();
    Verification { name: environment.record.name.clone(), files }
}

fn damaged(file: VerifiedFile) -> Error {
    Error::Damaged {
        file: file.file,
        expected: format!("sha256:{}", file.expected),
        found: file.found.map_or_else(|error| error, |digest| format!("sha256:{digest}")),
    }
}

pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with('.')
}

pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
