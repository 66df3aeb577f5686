//! What must be equal for a saved machine to fit.

use std::fmt;

use pyro_engine::{Engine, MachineShape, Nic};
use sha2::{Digest, Sha256};

use super::TemplateSource;

/// Changes whenever what a template holds would no longer be right; bump it when the layout of a template changes.
const FORMAT: &str = "pyro template 2";

/// Digest of everything a saved machine depends on: engine build, host processor, shape and devices,
/// kernel, agent, root image. The size of the disk is not in it: disks grow after a restore.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TemplateKey(String);

impl TemplateKey {
    pub(crate) fn of(engine: &dyn Engine, shape: MachineShape, source: &TemplateSource) -> Self {
        Self::of_boot(engine, shape, &source.boot_digest, &source.boot.kernel_arguments)
    }

    /// The same of what is booted without its files.
    pub(crate) fn of_boot(
        engine: &dyn Engine,
        shape: MachineShape,
        boot_digest: &str,
        kernel_arguments: &[String],
    ) -> Self {
        let mut digest = Sha256::new();
        let nic = match shape.nic {
            Nic::None => "none",
            Nic::Stream => "stream",
        };
        let parts = [
            FORMAT.to_owned(),
            std::env::consts::ARCH.to_owned(),
            engine.build().digest.clone(),
            format!("{:?}", engine.acceleration()),
            format!("vcpus {} mem_mib {} nic {nic}", shape.vcpus, shape.mem_mib),
            boot_digest.to_owned(),
            kernel_arguments.join(" "),
            format!("protocol {}", pyro_protocol::version::NEWEST),
        ];
        for part in parts {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(part);
        }
        let hex = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self(hex)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
