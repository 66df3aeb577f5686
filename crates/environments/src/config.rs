//! What the caller decides. Nothing here is read from the process's environment.

use std::{ffi::OsString, fmt, io, path::PathBuf, sync::Arc};

/// Called at every step that a crash may separate from the next; an error makes the step fail.
pub type FaultPoint = Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>;

/// Where packages come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum PackageSources {
    /// The host's own configured sources of the same suite, if it has any; otherwise the distribution's mirrors.
    #[default]
    HostOrDistribution,
    /// These sources, as URLs or one-line `deb …` entries.
    Given(Vec<String>),
}

/// Configuration of [`Environments`](crate::Environments).
#[derive(Clone)]
pub struct EnvironmentsConfig {
    /// Directory of the cache; made when missing, mode 0700.
    pub cache_dir: PathBuf,
    /// Directory in which packages are unpacked while building. Every directory above it must be passable for
    /// all users, since an ordinary user's builder works under subordinate uids there.
    pub scratch_dir: PathBuf,
    /// Where packages come from.
    pub package_sources: PackageSources,
    /// Added to the builder's environment, e.g. `http_proxy`.
    pub builder_environment: Vec<(OsString, OsString)>,
    /// Directories in which programs are looked for.
    pub program_path: Vec<PathBuf>,
    /// Fault points; `None` outside tests.
    pub fault_point: Option<FaultPoint>,
}

impl EnvironmentsConfig {
    /// The usual values with the given cache.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            scratch_dir: PathBuf::from("/var/tmp"),
            package_sources: PackageSources::default(),
            builder_environment: Vec::new(),
            program_path: ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                .map(PathBuf::from)
                .to_vec(),
            fault_point: None,
        }
    }

    /// Every fault point of this crate, in the order in which a pull reaches them.
    pub const FAULT_POINTS: &'static [&'static str] = &[
        "environment.partial-made",
        "environment.builder-starting",
        "environment.archive-written",
        "environment.archive-kept",
        "environment.kernel-written",
        "environment.image-written",
        "environment.recorded",
        "environment.archive-removed",
        "environment.installed",
    ];

    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.program_path.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
    }

    pub(crate) fn reach(&self, point: &'static str) -> io::Result<()> {
        self.fault_point.as_ref().map_or(Ok(()), |fault_point| fault_point(point))
    }
}

impl fmt::Debug for EnvironmentsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The builder's environment may hold a proxy's password.
        f.debug_struct("EnvironmentsConfig")
            .field("cache_dir", &self.cache_dir)
            .field("scratch_dir", &self.scratch_dir)
            .field("package_sources", &self.package_sources)
            .finish_non_exhaustive()
    }
}
