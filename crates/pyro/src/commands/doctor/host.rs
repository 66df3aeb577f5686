//! The checks. Each looks at one thing and says what it found, whatever the others found.

use std::{path::PathBuf, sync::Arc};

use pyro_api::{ErrorBody, doctor::Check, environment::Environment, error::chain_text};
use pyro_engine::{
    acceleration::Acceleration,
    launch::{self, Confinement},
};
use pyro_environments::{CATALOGUE_VERSION, Environments, Requirement, recipe};
use pyro_workspace::{
    Layout,
    diagnosis::{self, trial_run},
};

use crate::{
    daemon::{assembly, convert},
    layout::make_private,
    settings::Settings,
};

/// The environment that is tried, and built first on a fresh host.
const ENVIRONMENT: &str = "debian:12";

/// What the checks found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) checks: Vec<Check>,
    pub(super) qemu: Option<PathBuf>,
    pub(super) confinement: Option<String>,
    pub(super) accelerates: bool,
    pub(super) catalog_version: String,
    pub(super) environments: Vec<Environment>,
}

/// Makes every check, the trial last.
pub(super) async fn examine(settings: &Settings, findings: &mut Findings) {
    CATALOGUE_VERSION.clone_into(&mut findings.catalog_version);
    let directories = directories(settings);
    findings.checks.push(directories);
    let qemu = assembly::qemu(settings);
    findings.checks.push(program("qemu", &qemu));
    findings.qemu = qemu.ok();
    findings.checks.push(program("mke2fs", &assembly::program(settings, "mke2fs", "e2fsprogs")));
    findings.checks.push(program("guest_agent", &assembly::guest(settings)));
    kvm(settings, findings).await;
    findings.checks.extend(user_ids(settings));
    confinement(settings, findings).await;
    findings.checks.push(snapshots(yama_scope(), rustix::process::getuid().is_root()));
    findings.checks.extend(unclear_machines(settings));
    let installed = environments(settings, findings);
    let trial = trial(settings, &findings.checks, installed).await;
    findings.checks.push(trial);
}

fn passed(name: &str, required: bool, detail: impl Into<String>) -> Check {
    Check { name: name.into(), ok: true, required, detail: detail.into(), mend: None }
}

fn failed(name: &str, required: bool, detail: impl Into<String>, mend: Option<String>) -> Check {
    Check { name: name.into(), ok: false, required, detail: detail.into(), mend }
}

fn directories(settings: &Settings) -> Check {
    for directory in [&settings.state, &settings.cache, &settings.runtime] {
        if let Err(error) = make_private(directory) {
            let detail = format!("cannot make {}: {error}", directory.display());
            let mend = "set PYRO_HOME to a directory that you may write".to_owned();
            return failed("directories", true, detail, Some(mend));
        }
    }
    passed("directories", true, format!("{} and {}", settings.state.display(), settings.cache.display()))
}

/// Machines that pyro does not dare to end.
fn unclear_machines(settings: &Settings) -> Option<Check> {
    let layout = Layout::new(&settings.state, &settings.cache);
    // Where none was ever made there is nothing to look over.
    let found = diagnosis::unclear_machines(&layout).ok()?;
    let first = found.first()?;
    let others = match found.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let detail = format!("{}: {}{others}; spared", first.path.display(), first.why);
    let mend = "see whose it is; if nobody needs it, remove the directory".to_owned();
    Some(failed("machines", false, detail, Some(mend)))
}

fn program(name: &str, found: &Result<PathBuf, ErrorBody>) -> Check {
    match found {
        Ok(path) => passed(name, true, path.display().to_string()),
        Err(error) => failed(name, true, error.error.clone(), error.hint.clone()),
    }
}

async fn kvm(settings: &Settings, findings: &mut Findings) {
    let slow = "machines are emulated, which works and is slower";
    let check = match assembly::measure_acceleration(settings).await {
        Ok(Acceleration::Works { loop_ns }) => {
            findings.accelerates = true;
            passed("kvm", false, format!("accelerates ({loop_ns} ns for a round of the trial loop)"))
        }
        Ok(Acceleration::Absent) => failed("kvm", false, format!("there is no /dev/kvm; {slow}"), None),
        Ok(Acceleration::NoPermission) => {
            let mend = "sudo usermod --append --groups kvm $USER, then log in again".to_owned();
            failed("kvm", false, format!("/dev/kvm may not be opened; {slow}"), Some(mend))
        }
        Ok(Acceleration::Useless { reason }) => {
            failed("kvm", false, format!("/dev/kvm does not accelerate ({reason}); {slow}"), None)
        }
        Err(error) => failed("kvm", false, format!("cannot be measured: {error}; {slow}"), None),
    };
    findings.checks.push(check);
}

/// Ids for machines, a matter for root alone.
fn user_ids(settings: &Settings) -> Option<Check> {
    match assembly::user_ids(settings) {
        Ok(None) => None,
        Ok(Some(ids)) => {
            let detail = format!("{}-{}, one for each machine", ids.start(), ids.end());
            Some(passed("user_ids", true, detail))
        }
        Err(error) => Some(failed("user_ids", true, error.error, error.hint)),
    }
}

/// How far Yama lets processes look into each other; none: it is not there.
fn yama_scope() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

/// Whether the memory of machines can be read, without which snapshots, forks and sleep take long.
fn snapshots(yama_scope: Option<u8>, is_root: bool) -> Check {
    let lost = "snapshots, forks and sleep save all of it each time, which takes some seconds for each GiB";
    match yama_scope {
        Some(scope @ 3..) => {
            let detail = format!("kernel.yama.ptrace_scope is {scope}, so no memory can be read: {lost}");
            failed("snapshots", false, detail, Some("set it to 1 or 2 when the host starts".to_owned()))
        }
        Some(2) if !is_root => {
            let detail = format!("kernel.yama.ptrace_scope is 2, so only root reads memory: {lost}");
            failed("snapshots", false, detail, Some("sudo sysctl -w kernel.yama.ptrace_scope=1".to_owned()))
        }
        _ => passed("snapshots", false, "the memory of machines can be read"),
    }
}

async fn confinement(settings: &Settings, findings: &mut Findings) {
    let check = match probe_confinement(settings).await {
        Ok(confinement) => {
            let applied: Vec<String> = confinement.applied.iter().map(ToString::to_string).collect();
            findings.confinement = Some(applied.join(", "));
            if confinement.is_complete() {
                passed("confinement", false, "every layer is in place")
            } else {
                let missing: Vec<String> = confinement
                    .missing
                    .iter()
                    .map(|missing| format!("{} ({})", missing.layer, missing.reason))
                    .collect();
                let mend = "sudo sysctl -w user.max_user_namespaces=28633".to_owned();
                failed("confinement", false, format!("missing: {}", missing.join(", ")), Some(mend))
            }
        }
        Err(error) => failed("confinement", true, format!("cannot be set up: {error}"), None),
    };
    findings.checks.push(check);
}

async fn probe_confinement(settings: &Settings) -> Result<Confinement, String> {
    let mount_point = settings.runtime.join("doctor");
    make_private(&mount_point).map_err(|error| error.to_string())?;
    let ids = assembly::user_ids(settings).map_err(|error| error.error)?;
    let user = ids.map(|ids| (*ids.start(), *ids.start()));
    let launcher = assembly::launcher();
    let probed = launch::probe(&launcher, &mount_point, user).await.map_err(|error| chain_text(&error));
    // Left behind it would do no harm.
    let _removed = std::fs::remove_dir(&mount_point);
    probed
}

/// Looks at the cache; returns an environment that is there to be tried.
fn environments(settings: &Settings, findings: &mut Findings) -> Option<String> {
    let environments = match assembly::environments(settings) {
        Ok(environments) => environments,
        Err(error) => {
            findings.checks.push(failed("cache", true, error.error, error.hint));
            return None;
        }
    };
    let list = environments.list();
    let installed = list
        .iter()
        .filter(|info| info.installed)
        .min_by_key(|info| info.name != ENVIRONMENT)
        .map(|info| info.name.clone());
    findings.environments = list.into_iter().map(convert::environment).collect();
    findings.checks.extend(builder_checks(&environments, installed.is_none()));
    findings.checks.push(match &installed {
        Some(name) => {
            passed("cache", true, format!("{name} is installed in {}", settings.environments.display()))
        }
        None => failed(
            "cache",
            true,
            format!("no environment is installed in {}", settings.environments.display()),
            Some(format!("pyro env pull {ENVIRONMENT}")),
        ),
    });
    installed
}

/// What building needs is required only as long as there is nothing to run in.
fn builder_checks(environments: &Environments, required: bool) -> Vec<Check> {
    let requirements =
        recipe(ENVIRONMENT).map(|recipe| environments.requirements(recipe)).unwrap_or_default();
    let check = |Requirement { name, met, detail, mend }: Requirement| Check {
        name: name.to_owned(),
        ok: met,
        required,
        detail,
        mend,
    };
    requirements.into_iter().map(check).collect()
}

/// Restores a machine and runs `true` in it.
async fn trial(settings: &Settings, checks: &[Check], installed: Option<String>) -> Check {
    let in_vain = checks.iter().find(|check| check.required && !check.ok);
    let (Some(environment), None) = (installed, in_vain) else {
        return failed("machine", true, "not tried, since something that it needs is missing", None);
    };
    let opened = match assembly::environments(settings) {
        Ok(environments) => assembly::open_host(settings, Arc::new(environments), false).await,
        Err(error) => Err(error),
    };
    let host = match opened {
        Ok(host) => host,
        Err(error) => return failed("machine", true, error.error, error.hint),
    };
    match trial_run(&host, &environment).await {
        Ok(outcome) => {
            let detail =
                format!("ran `true` in {environment} ({:?}, {:?})", outcome.isolation, outcome.start);
            passed("machine", true, detail.to_lowercase())
        }
        Err(error) => {
            failed("machine", true, chain_text(&error), Some("see the machine's last words above".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_lets_nobody_read_memory_is_told_that_snapshots_take_long() {
        for (scope, is_root, ok) in [
            (None, false, true),
            (Some(0), false, true),
            (Some(1), false, true),
            (Some(2), true, true),
            (Some(2), false, false),
            (Some(3), true, false),
        ] {
            let check = snapshots(scope, is_root);
            assert_eq!(
                (check.ok, check.required, check.mend.is_some()),
                (ok, false, !ok),
                "{scope:?} {is_root}"
            );
        }
    }
}
