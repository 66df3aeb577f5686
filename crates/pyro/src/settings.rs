//! What environment and configuration file tell the program: the only reader of environment variables. Everything
//! else gets values. A variable that is set counts more than the file, and the file more than the default.

use std::{
    ffi::OsString,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use pyro_api::{ErrorBody, ErrorCode};

use crate::config_file::ConfigFile;

/// One environment variable that means something to pyro.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// Its key in the configuration file, if it may stand there.
    pub(crate) key: Option<&'static str>,
    pub(crate) doc: &'static str,
}

/// Every variable that is read, for help and manual pages.
pub(crate) const VARIABLES: &[Variable] = &[
    Variable {
        name: "PYRO_HOME",
        key: None,
        doc: "One directory for everything: data, cache and sockets (default: the XDG directories)",
    },
    Variable {
        name: "PYRO_CONFIG",
        key: None,
        doc: "The configuration file (default: config.toml in PYRO_HOME, or pyro/config.toml in the XDG configuration directory)",
    },
    Variable {
        name: "PYRO_ENVIRONMENT_CACHE_DIR",
        key: Some("paths.environment_cache_dir"),
        doc: "Directory of installed environments (default: environments in the cache directory)",
    },
    Variable {
        name: "PYRO_QEMU",
        key: Some("paths.qemu"),
        doc: "Path of qemu-system-x86_64 (default: the first one in PATH)",
    },
    Variable {
        name: "PYRO_GUEST",
        key: Some("paths.guest"),
        doc: "Path of the guest agent (default: pyro-guest beside this program)",
    },
    Variable {
        name: "PYRO_VMM_UIDS",
        key: Some("vmm.uids"),
        doc: "Range of user ids FIRST-LAST of which each virtual machine gets one, when started by root (default: 2000000-2065535, in a container without these the highest of its own)",
    },
    Variable {
        name: "PYRO_MAX_WORKSPACES",
        key: Some("limits.max_workspaces"),
        doc: "Workspaces there may be at once, started or not (default: 100)",
    },
    Variable {
        name: "PYRO_MEMORY_BUDGET_MIB",
        key: Some("limits.memory_budget_mib"),
        doc: "Memory that started workspaces may have in sum, MiB; a guest takes it from the host only as it uses it (default: twice the host's)",
    },
    Variable {
        name: "PYRO_DISK_BUDGET_MIB",
        key: Some("limits.disk_budget_mib"),
        doc: "What the disks of workspaces may take on the host in sum, MiB (default: four fifths of the file system)",
    },
    Variable {
        name: "PYRO_DAEMON_IDLE_SECONDS",
        key: Some("daemon.idle_seconds"),
        doc: "The daemon ends after this long without work (default: 300)",
    },
    Variable {
        name: "PYRO_LOG",
        key: Some("daemon.log"),
        doc: "What the daemon logs: error, warn, info, debug, trace, or a filter by module (default: info)",
    },
    Variable {
        name: "PYRO_FAULT",
        key: None,
        doc: "Fault points and what happens there (kill, stop or disk-full), as POINT=FAULT[,POINT=FAULT…]; only for tests",
    },
    Variable {
        name: "XDG_CONFIG_HOME",
        key: None,
        doc: "Base of the configuration directory (default: ~/.config)",
    },
    Variable {
        name: "XDG_DATA_HOME",
        key: None,
        doc: "Base of the data directory (default: ~/.local/share)",
    },
    Variable { name: "XDG_CACHE_HOME", key: None, doc: "Base of the cache directory (default: ~/.cache)" },
    Variable {
        name: "XDG_RUNTIME_DIR",
        key: None,
        doc: "Base of the directory of sockets (default: run in the data directory)",
    },
    Variable {
        name: "CLAUDE_CONFIG_DIR",
        key: None,
        doc: "Where Claude Code keeps its configuration, for `pyro host` (default: ~)",
    },
    Variable {
        name: "CODEX_HOME",
        key: None,
        doc: "Where Codex keeps its configuration, for `pyro host` (default: ~/.codex)",
    },
    Variable { name: "HOME", key: None, doc: "Base of the defaults above" },
    Variable { name: "PATH", key: None, doc: "Where programs are looked up" },
];

/// The environment, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// What must last.
    pub(crate) state: PathBuf,
    /// What can be made again.
    pub(crate) cache: PathBuf,
    /// What lives as long as the daemon.
    pub(crate) runtime: PathBuf,
    /// Installed environments.
    pub(crate) environments: PathBuf,
    /// QEMU, if it was named.
    pub(crate) qemu: Option<PathBuf>,
    /// Guest agent, if it was named.
    pub(crate) guest: Option<PathBuf>,
    /// User ids for VMMs, if they were named.
    pub(crate) vmm_uids: Option<RangeInclusive<u32>>,
    /// Bounds over all workspaces, as far as they were named.
    pub(crate) limits: LimitSettings,
    /// How long a daemon without work lives on.
    pub(crate) daemon_idle: Duration,
    /// Filter of the daemon's log.
    pub(crate) log_filter: String,
    /// Faults to arm: point and fault.
    pub(crate) faults: Vec<(String, String)>,
    /// Where programs are looked up.
    pub(crate) search_path: Vec<PathBuf>,
    /// What git needs to find itself and the user's settings.
    pub(crate) git_environment: Vec<(OsString, OsString)>,
}

/// Bounds over all workspaces; what was not named is drawn from the host.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct LimitSettings {
    pub(crate) max_workspaces: Option<u64>,
    pub(crate) memory_budget_mib: Option<u64>,
    pub(crate) disk_budget_mib: Option<u64>,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Environment,
    File,
}

/// Environment and file, one over the other.
pub(crate) struct Layers<L> {
    environment: L,
    file: ConfigFile,
}

impl<L: Fn(&str) -> Option<OsString>> Layers<L> {
    /// Finds and reads the configuration file.
    pub(crate) fn read(environment: L) -> Result<Self, ErrorBody> {
        let file = config_path(&environment)?
            .map_or_else(|| Ok(ConfigFile::default()), |path| ConfigFile::read(&path))?;
        Ok(Self { environment, file })
    }

    /// The value of a variable and where it comes from; empty is unset.
    pub(crate) fn find(&self, variable: &Variable) -> Option<(OsString, Origin)> {
        let environment = (self.environment)(variable.name).filter(|value| !value.is_empty());
        let file = || variable.key.and_then(|key| self.file.get(key)).map(OsString::from);
        environment
            .map(|value| (value, Origin::Environment))
            .or_else(|| file().map(|value| (value, Origin::File)))
    }

    fn get(&self, name: &str) -> Option<OsString> {
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        debug_assert!(variable.is_some(), "{name} is not documented");
        variable.and_then(|variable| self.find(variable)).map(|(value, _)| value)
    }
}

/// The configuration file that would be read; none if there is no place for one.
pub(crate) fn config_path(
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<PathBuf>, ErrorBody> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    if let Some(path) = set("PYRO_CONFIG") {
        return Some(path)
            .filter(absolute)
            .map(Some)
            .ok_or_else(|| bad("PYRO_CONFIG", "is not an absolute path"));
    }
    if let Some(home) = set("PYRO_HOME").filter(absolute) {
        return Ok(Some(home.join("config.toml")));
    }
    let base = set("XDG_CONFIG_HOME").filter(absolute);
    let base = base.or_else(|| set("HOME").filter(absolute).map(|home| home.join(".config")));
    Ok(base.map(|base| base.join("pyro/config.toml")))
}

/// The process's environment.
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// All of the process's environment, to hand it on.
pub(crate) fn whole_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

const DEFAULT_IDLE_SECONDS: u64 = 300;

/// Longer is for ever: clocks cannot count as far as numbers go.
const LONGEST_SECONDS: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

impl Settings {
    /// Reads the process's environment and the configuration file.
    pub(crate) fn from_environment() -> Result<Self, ErrorBody> {
        Self::from_layers(&Layers::read(environment)?)
    }

    /// Reads an environment that another process would have, and the configuration file that it would read.
    pub(crate) fn from_variables(environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, ErrorBody> {
        Self::from_layers(&Layers::read(environment)?)
    }

    fn from_layers<L: Fn(&str) -> Option<OsString>>(layers: &Layers<L>) -> Result<Self, ErrorBody> {
        let set = |name: &str| layers.get(name);
        let text = |name: &str| -> Result<Option<String>, ErrorBody> {
            let unreadable = |_| bad(name, "is not UTF-8");
            set(name).map(|value| value.into_string().map_err(unreadable)).transpose()
        };
        let absolute = |name: &str| -> Result<Option<PathBuf>, ErrorBody> {
            match set(name).map(PathBuf::from) {
                Some(path) if !path.is_absolute() => Err(bad(name, "is not an absolute path")),
                path => Ok(path),
            }
        };
        // The XDG specification has relative paths ignored.
        let xdg = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user_home = || {
            xdg("HOME").ok_or_else(|| {
                ErrorBody::new(
                    ErrorCode::HostRequirement,
                    "neither PYRO_HOME nor HOME is set to an absolute path",
                )
                .with_hint("set PYRO_HOME to a directory for everything that pyro keeps")
            })
        };
        let under = |name: &str, fallback: &str| -> Result<PathBuf, ErrorBody> {
            let base = xdg(name).map_or_else(|| user_home().map(|home| home.join(fallback)), Ok)?;
            Ok(base.join("pyro"))
        };
        let (state, cache, runtime) = if let Some(home) = absolute("PYRO_HOME")? {
            (home.join("data"), home.join("cache"), home.join("run"))
        } else {
            let state = under("XDG_DATA_HOME", ".local/share")?;
            let cache = under("XDG_CACHE_HOME", ".cache")?;
            let runtime = xdg("XDG_RUNTIME_DIR")
                .map_or_else(|| state.join("run"), |base| base.join("pyro").join(fingerprint(&state)));
            (state, cache, runtime)
        };
        let number = |name: &str| -> Result<Option<u64>, ErrorBody> {
            let parsed = text(name)?.map(|number| number.parse().ok().filter(|number| *number > 0));
            parsed
                .map(|number| number.ok_or_else(|| bad(name, "is not a whole number greater than 0")))
                .transpose()
        };
        let limits = LimitSettings {
            max_workspaces: number("PYRO_MAX_WORKSPACES")?,
            memory_budget_mib: number("PYRO_MEMORY_BUDGET_MIB")?,
            disk_budget_mib: number("PYRO_DISK_BUDGET_MIB")?,
        };
        let environments =
            absolute("PYRO_ENVIRONMENT_CACHE_DIR")?.unwrap_or_else(|| cache.join("environments"));
        Ok(Self {
            environments,
            state,
            cache,
            runtime,
            qemu: absolute("PYRO_QEMU")?,
            guest: absolute("PYRO_GUEST")?,
            limits,
            vmm_uids: text("PYRO_VMM_UIDS")?.map(|range| parse_uids(&range)).transpose()?,
            daemon_idle: text("PYRO_DAEMON_IDLE_SECONDS")?
                .map_or(Ok(Duration::from_secs(DEFAULT_IDLE_SECONDS)), |seconds| {
                    parse_seconds("PYRO_DAEMON_IDLE_SECONDS", &seconds)
                })?,
            log_filter: text("PYRO_LOG")?.unwrap_or_else(|| "info".to_owned()),
            faults: text("PYRO_FAULT")?.map_or_else(|| Ok(Vec::new()), |faults| parse_faults(&faults))?,
            git_environment: ["HOME", "PATH", "XDG_CONFIG_HOME"]
                .into_iter()
                .filter_map(|name| set(name).map(|value| (OsString::from(name), value)))
                .collect(),
            search_path: set("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
        })
    }

    /// Where a program is, looked up like a shell does.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.search_path
            .iter()
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(name))
            .find(|path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
    }
}

fn bad(name: &str, problem: &str) -> ErrorBody {
    let variable = VARIABLES.iter().find(|variable| variable.name == name);
    let key = variable.and_then(|variable| variable.key);
    let key = key.map_or_else(String::new, |key| format!(" (or {key} in the configuration file)"));
    ErrorBody::new(ErrorCode::InvalidRequest, format!("environment variable {name}{key} {problem}"))
        .with_hint(variable.map_or("", |variable| variable.doc))
}

fn parse_seconds(name: &str, text: &str) -> Result<Duration, ErrorBody> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.min(LONGEST_SECONDS)).ok());
    time.ok_or_else(|| bad(name, "is not a number of seconds"))
}

fn parse_uids(text: &str) -> Result<RangeInclusive<u32>, ErrorBody> {
    let range = text.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    range
        .filter(|range| !range.is_empty() && *range.start() > 0 && *range.end() < u32::MAX)
        .ok_or_else(|| bad("PYRO_VMM_UIDS", "is not a range of user ids FIRST-LAST without 0"))
}

fn parse_faults(text: &str) -> Result<Vec<(String, String)>, ErrorBody> {
    let fault = |one: &str| {
        let parts = one.split_once('=').map(|(point, fault)| (point.to_owned(), fault.to_owned()));
        parts.ok_or_else(|| bad("PYRO_FAULT", "is not POINT=FAULT"))
    };
    text.split(',').map(fault).collect()
}

/// Names a state directory, so that two of them never share a socket (64-bit FNV-1a).
fn fingerprint(path: &Path) -> String {
    let hash = path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, ErrorBody> {
        let environment = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
        };
        Settings::from_layers(&Layers { environment, file: ConfigFile::default() })
    }

    #[test]
    fn one_directory_holds_everything_when_asked() {
        let settings = settings(&[("PYRO_HOME", "/p"), ("XDG_CACHE_HOME", "/c")]).unwrap();
        assert_eq!(settings.state, Path::new("/p/data"));
        assert_eq!(settings.environments, Path::new("/p/cache/environments"));
        assert_eq!(settings.runtime, Path::new("/p/run"));
    }

    #[test]
    fn xdg_directories_are_followed_and_relative_ones_ignored() {
        let found = settings(&[("HOME", "/h"), ("XDG_CACHE_HOME", "c"), ("XDG_DATA_HOME", "/d")]).unwrap();
        assert_eq!(found.state, Path::new("/d/pyro"));
        assert_eq!(found.cache, Path::new("/h/.cache/pyro"));
        assert_eq!(found.runtime, Path::new("/d/pyro/run"));
        let one = settings(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]).unwrap();
        let two = settings(&[("HOME", "/i"), ("XDG_RUNTIME_DIR", "/r")]).unwrap();
        assert!(one.runtime.starts_with("/r/pyro"));
        assert_ne!(one.runtime, two.runtime);
    }

    #[test]
    fn bad_values_are_named() {
        for (name, value) in [
            ("PYRO_HOME", "here"),
            ("PYRO_VMM_UIDS", "0-5"),
            ("PYRO_VMM_UIDS", "9-5"),
            ("PYRO_VMM_UIDS", "many"),
            ("PYRO_DAEMON_IDLE_SECONDS", "-1"),
            ("PYRO_DAEMON_IDLE_SECONDS", "nan"),
            ("PYRO_FAULT", "x"),
            ("PYRO_MAX_WORKSPACES", "0"),
            ("PYRO_MEMORY_BUDGET_MIB", "much"),
        ] {
            let error = settings(&[("HOME", "/h"), (name, value)]).unwrap_err();
            assert!(error.error.contains(name), "{name}={value}: {error}");
        }
        assert_eq!(settings(&[]).unwrap_err().code, ErrorCode::HostRequirement);
    }

    #[test]
    fn values_are_understood() {
        let found = settings(&[
            ("PYRO_HOME", "/p"),
            ("PYRO_VMM_UIDS", "100-200"),
            ("PYRO_DAEMON_IDLE_SECONDS", "0.5"),
            ("PYRO_QEMU", "/q"),
            ("PYRO_LOG", ""),
        ])
        .unwrap();
        assert_eq!(found.vmm_uids, Some(100..=200));
        assert_eq!(found.daemon_idle, Duration::from_millis(500));
        assert_eq!(found.qemu.as_deref(), Some(Path::new("/q")));
        assert_eq!(found.log_filter, "info");
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_for_ever_is_a_time_that_clocks_can_count_to() {
        for forever in ["1e18", "1e300", "inf"] {
            let found = settings(&[("PYRO_HOME", "/p"), ("PYRO_DAEMON_IDLE_SECONDS", forever)]).unwrap();
            assert!(tokio::time::Instant::now().checked_add(found.daemon_idle).is_some(), "{forever}");
            assert_eq!(found.daemon_idle.as_secs_f64(), LONGEST_SECONDS);
        }
    }
}
