//! Where hosts keep their configuration.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use pyro_api::{ErrorBody, ErrorCode};

/// Whom a configuration is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// One user, in every project.
    User,
    /// Whoever works on one project; the file is in it.
    Project,
    /// One user in one project. Looked at, never written by `connect`.
    Local,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
        })
    }
}

/// Which directories a server may name when nobody said any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Allowed {
    /// The one it is started in, which is the project.
    StartDirectory,
    /// The one that the host puts in for this word.
    Variable(&'static str),
    /// None: the host starts servers in no directory in particular, so somebody must say one.
    MustBeSaid,
}

/// A place for a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    pub(crate) scope: Scope,
    /// Files that the host reads there, the one that counts most first. Never empty.
    pub(crate) files: Vec<PathBuf>,
    /// Which of them is made when there is none.
    pub(crate) fresh: usize,
    /// Keys that lead to the map of servers.
    pub(crate) keys: Vec<String>,
    pub(crate) allowed: Allowed,
}

impl Location {
    /// A place with one file.
    pub(super) fn new(scope: Scope, file: PathBuf, keys: &[&str], allowed: Allowed) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self { scope, files: vec![file], fresh: 0, keys, allowed }
    }
}

/// What places depend on.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) home: PathBuf,
    /// `XDG_CONFIG_HOME`, or what stands for it.
    pub(crate) config: PathBuf,
    /// The directory of the project.
    pub(crate) project: PathBuf,
    /// `CLAUDE_CONFIG_DIR`.
    pub(crate) claude: Option<PathBuf>,
    /// `CODEX_HOME`, or what stands for it.
    pub(crate) codex: PathBuf,
}

impl Places {
    /// Reads them out of an environment. The project is `directory`.
    pub(crate) fn new(
        environment: impl Fn(&str) -> Option<OsString>,
        directory: &Path,
    ) -> Result<Self, ErrorBody> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME").filter(|home| home.is_absolute()).ok_or_else(|| {
            ErrorBody::new(ErrorCode::HostRequirement, "HOME is not set to an absolute path")
                .with_hint("configurations of chat hosts are below it")
        })?;
        // As a host that is started here takes them; joined to an absolute path, that path is what comes out.
        let absolute = |name: &str| set(name).map(|path| directory.join(path));
        Ok(Self {
            config: set("XDG_CONFIG_HOME")
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(".config")),
            claude: absolute("CLAUDE_CONFIG_DIR"),
            codex: absolute("CODEX_HOME").unwrap_or_else(|| home.join(".codex")),
            project: directory.to_owned(),
            home,
        })
    }
}
