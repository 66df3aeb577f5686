//! `pyro doctor`: whether `pyro run` works here, and what mends it if not. Needs neither the daemon nor a working
//! host: every check stands for itself, and what cannot be checked is a failed check and no failure of the command.

mod host;

use clap::Args;
use pyro_api::doctor::{Capabilities, Check, DoctorReport, Kvm, Networking, Runtime};

use crate::{
    output::{self, Failure, Status},
    process_traits,
    settings::Settings,
};

/// The only platform of this release, by the contract's name.
const PLATFORM: &str = "linux-x86_64";

/// Check whether this host can run machines, and say what to do if not
///
/// Exits with 0 only if `pyro run` would work: the last check starts a machine and runs a command in it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Platform of the machines
    #[arg(long, value_name = "PLATFORM", default_value = PLATFORM)]
    platform: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn perform(arguments: Arguments, settings: Settings) -> Result<Status, Failure> {
    // The trial's machine belongs to nobody when its launcher has ended; without this, pid 1 would have to see it off.
    process_traits::adopt_orphans();
    let mut findings = host::Findings::default();
    findings.checks.push(platform_check(&arguments.platform));
    host::examine(&settings, &mut findings).await;
    let report = report(arguments.platform, &settings, findings);
    if arguments.json {
        output::json(&report)?;
    } else {
        output::write(human(&report).as_bytes())?;
    }
    Ok(Status::from(!report.runtime_ok))
}

fn platform_check(asked: &str) -> Check {
    let own = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    let ok = asked == PLATFORM && own == PLATFORM;
    let mend = (!ok).then(|| format!("use a host of {PLATFORM}, the only platform of this release"));
    Check { name: "platform".into(), ok, required: true, detail: format!("this host is {own}"), mend }
}

fn report(platform: String, settings: &Settings, findings: host::Findings) -> DoctorReport {
    let issue = |check: &Check| format!("{}: {}", check.name, check.detail);
    let failed =
        |required| findings.checks.iter().filter(move |check| !check.ok && check.required == required);
    let issues: Vec<String> = failed(true).chain(failed(false)).map(issue).collect();
    let reason = failed(true).map(issue).next();
    let runtime_ok = reason.is_none();
    DoctorReport {
        platform,
        runtime_ok,
        issues,
        kvm: kvm(findings.accelerates),
        networking: networking(settings),
        runtime: Runtime {
            bundle_version: env!("CARGO_PKG_VERSION").to_owned(),
            qemu: findings.qemu.map(|path| path.display().to_string()),
            confinement: findings.confinement,
            capabilities: Capabilities {
                supports_vm_boot: runtime_ok,
                supports_guest_exec: runtime_ok,
                supports_guest_network: false,
                reason: reason.or_else(|| Some("machines have no network in this release".to_owned())),
            },
            catalog_version: findings.catalog_version,
            cache_dir: settings.environments.display().to_string(),
            environments: findings.environments,
        },
        checks: findings.checks,
    }
}

fn kvm(accelerates: bool) -> Kvm {
    use rustix::fs::{Access, access};
    let may = |what| access("/dev/kvm", what).is_ok();
    Kvm {
        exists: may(Access::EXISTS),
        readable: may(Access::READ_OK),
        writable: may(Access::WRITE_OK),
        accelerates,
    }
}

fn networking(settings: &Settings) -> Networking {
    let path = |name| settings.find_program(name).map(|path| path.display().to_string());
    let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    Networking {
        enabled_by_default: false,
        tun_available: std::path::Path::new("/dev/net/tun").exists(),
        ip_binary: path("ip"),
        nft_binary: path("nft"),
        iptables_binary: path("iptables"),
        ip_forward_enabled: forward.is_ok_and(|text| text.trim() == "1"),
    }
}

fn human(report: &DoctorReport) -> String {
    let mut text = format!(
        "Platform: {}\nRuntime: {}\n",
        report.platform,
        if report.runtime_ok { "PASS" } else { "FAIL" }
    );
    for check in &report.checks {
        let verdict = match (check.ok, check.required) {
            (true, _) => "ok  ",
            (false, true) => "FAIL",
            (false, false) => "note",
        };
        text.push_str(&format!("[{verdict}] {}: {}\n", check.name, output::printable(&check.detail)));
        if let Some(mend) = &check.mend {
            text.push_str(&format!("       mend: {}\n", output::printable(mend)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_of_another_kind_is_refused_by_name() {
        assert!(platform_check(PLATFORM).ok);
        let check = platform_check("linux-aarch64");
        assert!(!check.ok && check.required && check.mend.unwrap().contains(PLATFORM));
    }

    #[test]
    fn only_required_checks_decide() {
        let settings = Settings::from_environment().unwrap();
        let check = |name: &str, ok, required| Check {
            name: name.into(),
            ok,
            required,
            detail: "found so".into(),
            mend: (!ok).then(|| "do so".into()),
        };
        let findings = |checks| host::Findings { checks, ..host::Findings::default() };
        let slow = report(
            PLATFORM.into(),
            &settings,
            findings(vec![check("kvm", false, false), check("qemu", true, true)]),
        );
        assert!(slow.runtime_ok && slow.runtime.capabilities.supports_vm_boot);
        assert_eq!(slow.issues, ["kvm: found so"]);
        let broken = report(
            PLATFORM.into(),
            &settings,
            findings(vec![check("kvm", false, false), check("qemu", false, true)]),
        );
        assert!(!broken.runtime_ok);
        assert_eq!(broken.issues, ["qemu: found so", "kvm: found so"]);
        assert!(human(&broken).contains("[FAIL] qemu: found so\n       mend: do so\n"));
    }
}
