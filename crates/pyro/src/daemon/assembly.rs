//! Puts the library together from the settings: which programs, which directories, which engine.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use pyro_api::{ErrorBody, ErrorCode, error::chain_text};
use pyro_engine::{
    Engine, Isolation,
    acceleration::{self, Acceleration},
    launch::Launcher,
    qemu::{EngineConfig, QemuEngine},
};
use pyro_environments::{Environments, EnvironmentsConfig};

use pyro_workspace::{Git, Host, HostConfig, Layout, fault, workspaces::Limits};

use super::convert::{environment_code, error_body};
use crate::{layout::make_private, settings::Settings, user_ids};

/// Program that runs machines.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Memory of templates kept loaded, at most.
const TEMPLATE_MEMORY_CAP_BYTES: u64 = 4 << 30;

/// No file that a machine writes can become larger: the largest disk and what its format adds.
const LARGEST_FILE_BYTES: u64 = 260 << 30;

/// Workspaces there may be at once, unless configured.
const DEFAULT_MAX_WORKSPACES: usize = 100;

/// Opens the library on this host.
/// Only the daemon drives workspaces.
pub(crate) async fn open_host(
    settings: &Settings,
    environments: Arc<Environments>,
    drives_workspaces: bool,
) -> Result<Host, ErrorBody> {
    let layout = Layout::new(&settings.state, &settings.cache);
    make_private(&settings.cache).map_err(|error| {
        let text = format!("cannot make the directory {}: {error}", settings.cache.display());
        ErrorBody::new(ErrorCode::StoreFailed, text)
    })?;
    let config = HostConfig {
        engine: engine(settings).await?,
        environments,
        agent: guest(settings)?,
        mke2fs: program(settings, "mke2fs", "e2fsprogs")?,
        template_memory_cap_bytes: TEMPLATE_MEMORY_CAP_BYTES,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        limits: limits(settings),
        git: git(settings),
        drives_workspaces,
        layout,
    };
    Host::open(config).await.map_err(|error| error_body(&error))
}

/// Bounds over all workspaces, as configured or as this host allows.
pub(crate) fn limits(settings: &Settings) -> Limits {
    let named = settings.limits;
    let memory_mib = || host_memory_bytes() >> 20;
    let disk_mib = || {
        // The directory itself may not be there yet.
        let place = settings.state.ancestors().find(|place| place.exists());
        let disk = place.and_then(|place| rustix::fs::statvfs(place).ok());
        disk.map_or(u64::MAX >> 20, |disk| ((disk.f_blocks * disk.f_frsize) >> 20) / 5 * 4)
    };
    Limits {
        max_workspaces: named
            .max_workspaces
            .map_or(DEFAULT_MAX_WORKSPACES, |most| usize::try_from(most).unwrap_or(usize::MAX)),
        memory_budget_mib: named.memory_budget_mib.unwrap_or_else(|| memory_mib() * 2),
        disk_budget_bytes: named.disk_budget_mib.unwrap_or_else(disk_mib).saturating_mul(1 << 20),
    }
}

fn host_memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// How git is asked what it tracks: with the user's own settings, and nothing else of the environment.
fn git(settings: &Settings) -> Git {
    let program = settings.find_program("git").unwrap_or_else(|| PathBuf::from("git"));
    Git { program, environment: settings.git_environment.clone() }
}

/// The environments of this user.
pub(crate) fn environments(settings: &Settings) -> Result<Environments, ErrorBody> {
    let config = EnvironmentsConfig {
        program_path: search_path(settings),
        fault_point: (!settings.faults.is_empty()).then(|| Arc::new(fault::reach_name) as _),
        ..EnvironmentsConfig::new(&settings.environments)
    };
    Environments::open(config).map_err(|error| ErrorBody::from_chain(environment_code(&error), &error))
}

/// What KVM is worth here, measured or remembered.
pub(crate) async fn measure_acceleration(settings: &Settings) -> std::io::Result<Acceleration> {
    make_private(&settings.cache)?;
    let cache = Layout::new(&settings.state, &settings.cache).acceleration();
    acceleration::measure(&launcher(), &cache).await
}

/// This program, which begins by asking whether it was started as a launcher. Not by its name, under which an upgrade
/// may have put another release: the new process finds its image here before it becomes it.
pub(crate) fn launcher() -> Launcher {
    Launcher { program: PathBuf::from("/proc/self/exe") }
}

/// The user ids of which each machine gets one; none for an ordinary user, who has no others to give.
pub(crate) fn user_ids(settings: &Settings) -> Result<Option<RangeInclusive<u32>>, ErrorBody> {
    let root = rustix::process::geteuid().is_root();
    root.then(|| user_ids::for_machines(settings.vmm_uids.as_ref())).transpose()
}

/// QEMU, as named or as found.
pub(crate) fn qemu(settings: &Settings) -> Result<PathBuf, ErrorBody> {
    match &settings.qemu {
        Some(path) if path.is_file() => Ok(path.clone()),
        Some(path) => Err(ErrorBody::new(
            ErrorCode::HostRequirement,
            format!("PYRO_QEMU names {}, where there is no program", path.display()),
        )
        .with_hint("unset PYRO_QEMU to use the one in PATH")),
        None => program(settings, QEMU, "qemu-system-x86"),
    }
}

/// The guest agent: as named, or installed beside this program.
pub(crate) fn guest(settings: &Settings) -> Result<PathBuf, ErrorBody> {
    if let Some(path) = &settings.guest {
        return Some(path.clone()).filter(|path| path.is_file()).ok_or_else(|| {
            ErrorBody::new(
                ErrorCode::HostRequirement,
                format!("PYRO_GUEST names {}, where there is no file", path.display()),
            )
        });
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = |relative: &str| own.parent().map(|directory| directory.join(relative));
    let places = ["pyro-guest", "../libexec/pyro/pyro-guest", "../lib/pyro/pyro-guest"];
    places.into_iter().filter_map(beside).find(|path| path.is_file()).ok_or_else(|| {
        ErrorBody::new(ErrorCode::HostRequirement, "the guest agent pyro-guest is not beside this program")
            .with_hint("install pyro as a whole, or set PYRO_GUEST to the agent's path")
    })
}

/// A program of the host, or what installs it.
pub(crate) fn program(settings: &Settings, name: &str, package: &str) -> Result<PathBuf, ErrorBody> {
    let found =
        search_path(settings).into_iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        ErrorBody::new(ErrorCode::HostRequirement, format!("{name} is missing"))
            .with_hint(format!("sudo apt-get install --yes {package}"))
    })
}

/// `PATH`, and where system programs are even when an ordinary user's `PATH` leaves them out.
fn search_path(settings: &Settings) -> Vec<PathBuf> {
    let mut path: Vec<PathBuf> =
        settings.search_path.iter().filter(|entry| entry.is_absolute()).cloned().collect();
    for system in
        ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"].map(Path::new)
    {
        if !path.iter().any(|entry| entry == system) {
            path.push(system.to_owned());
        }
    }
    path
}

async fn engine(settings: &Settings) -> Result<Arc<dyn Engine>, ErrorBody> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        ErrorBody::new(ErrorCode::HostRequirement, chain_text(error))
            .with_hint("`pyro doctor` says what is missing")
    };
    let accelerates = matches!(
        measure_acceleration(settings).await.map_err(|error| failed(&error))?,
        Acceleration::Works { .. }
    );
    let config = EngineConfig {
        qemu: qemu(settings)?,
        launcher: launcher(),
        isolation: if accelerates { Isolation::Kvm } else { Isolation::Emulated },
        user_ids: user_ids(settings)?.map(|ids| *ids.start()..ids.end() + 1),
        largest_file_bytes: LARGEST_FILE_BYTES,
    };
    let engine = QemuEngine::new(config).await.map_err(|error| failed(&error))?;
    Ok(Arc::new(engine))
}
