//! What `pyro doctor` reports. Not an operation of the daemon: it must work where no daemon can start.

use serde::{Deserialize, Serialize};

use crate::environment::Environment;

/// Whether `pyro run` would work on this host, and what is missing if not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoctorReport {
    /// Contract's name of the platform that was asked about, e.g. `linux-x86_64`.
    pub platform: String,
    /// Whether `pyro run` works: every required check is fine.
    pub runtime_ok: bool,
    /// The failed checks as sentences, required ones first.
    pub issues: Vec<String>,
    /// Hardware virtualization.
    pub kvm: Kvm,
    /// Networking of machines.
    pub networking: Networking,
    /// What runs machines.
    pub runtime: Runtime,
    /// Every check in the order of its making.
    pub checks: Vec<Check>,
}

/// One need of `pyro run` and how the host meets it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Short stable name: `qemu`, `kvm`, `mmdebstrap`, …
    pub name: String,
    /// Whether the host meets it.
    pub ok: bool,
    /// Whether `pyro run` fails without it; otherwise it is slower or less confined.
    pub required: bool,
    /// What was found.
    pub detail: String,
    /// The command, or the advice, that mends it; null when there is nothing to mend.
    pub mend: Option<String>,
}

/// What is known about KVM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kvm {
    /// `/dev/kvm` is there.
    pub exists: bool,
    /// It may be read.
    pub readable: bool,
    /// It may be written.
    pub writable: bool,
    /// A machine was measured to run on it.
    pub accelerates: bool,
}

/// What is known about networking. Machines have no network in this release, so there is nothing to need.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Networking {
    /// Whether machines get a network when nothing is said.
    pub enabled_by_default: bool,
    /// `/dev/net/tun` is there. Never needed: networks end in user space.
    pub tun_available: bool,
    /// Path of `ip`. Never needed.
    pub ip_binary: Option<String>,
    /// Path of `nft`. Never needed.
    pub nft_binary: Option<String>,
    /// Path of `iptables`. Never needed.
    pub iptables_binary: Option<String>,
    /// Whether the host forwards packets. Never needed.
    pub ip_forward_enabled: bool,
}

/// What runs machines on this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Runtime {
    /// Release of pyro.
    pub bundle_version: String,
    /// Path of the VMM, when there is one.
    pub qemu: Option<String>,
    /// Which confinement a VMM gets here, in words.
    pub confinement: Option<String>,
    /// What can be done.
    pub capabilities: Capabilities,
    /// Version of the list of environments.
    pub catalog_version: String,
    /// Directory of the environments.
    pub cache_dir: String,
    /// All environments.
    pub environments: Vec<Environment>,
}

/// What can be done on this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Capabilities {
    /// Machines start.
    pub supports_vm_boot: bool,
    /// Commands run in them.
    pub supports_guest_exec: bool,
    /// They can have a network.
    pub supports_guest_network: bool,
    /// Why something above is false.
    pub reason: Option<String>,
}
