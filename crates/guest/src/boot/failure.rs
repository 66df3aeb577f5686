//! A boot that did not work: at which stage, with which error number. Printed as one line to the console, where
//! the host finds it in the machine's log.

use std::fmt;
use std::io::{self, Write};

/// Steps of the boot, in their order. The names are part of the console line and therefore stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Mounting `/dev`, `/proc` and `/sys` in the initramfs.
    KernelFileSystems,
    /// Reading the kernel's command line.
    KernelArguments,
    /// Loading the modules of `/pyro/modules`.
    Modules,
    /// Mounting the read-only root image.
    RootImage,
    /// Mounting the writable disk.
    Disk,
    /// Joining both by an overlay.
    Overlay,
    /// Mounting the file systems that programs expect in the new root.
    RootMounts,
    /// Making the new root the root.
    SwitchRoot,
    /// Mounting `/workspace`, where the disk has been seeded.
    Workspace,
    /// Control groups, loopback, identity, limits.
    Settle,
    /// Finding and opening the port to the host.
    Port,
    /// Serving the host.
    Serve,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::KernelFileSystems => "kernel-file-systems",
            Self::KernelArguments => "kernel-arguments",
            Self::Modules => "modules",
            Self::RootImage => "root-image",
            Self::Disk => "disk",
            Self::Overlay => "overlay",
            Self::RootMounts => "root-mounts",
            Self::SwitchRoot => "switch-root",
            Self::Workspace => "workspace",
            Self::Settle => "settle",
            Self::Port => "port",
            Self::Serve => "serve",
        }
    }
}

/// Why the boot ended.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct BootFailure {
    /// Where.
    pub stage: Stage,
    /// What was tried: a verb and its object.
    pub operation: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl BootFailure {
    /// Writes the line `pyro-boot-failed stage=<stage> errno=<n> <message>` to the console.
    pub fn report(&self) {
        let line = ConsoleLine(self).to_string();
        print_to_console(&line);
    }
}

struct ConsoleLine<'a>(&'a BootFailure);

impl fmt::Display for ConsoleLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BootFailure { stage, operation, source } = self.0;
        let errno = source.raw_os_error().unwrap_or(0);
        let message = format!("{operation}: {source}").replace(['\n', '\r'], " ");
        write!(formatter, "pyro-boot-failed stage={} errno={errno} {message}", stage.name())
    }
}

/// Names the stage and the operation of a failed call.
pub trait During<T> {
    /// Turns an error into a [`BootFailure`] of `stage`; `operation` says what was tried.
    fn during(self, stage: Stage, operation: impl FnOnce() -> String) -> Result<T, BootFailure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, stage: Stage, operation: impl FnOnce() -> String) -> Result<T, BootFailure> {
        self.map_err(|error| BootFailure { stage, operation: operation(), source: error.into() })
    }
}

/// Writes one line to the console; a machine without a console loses it.
pub fn print_to_console(line: &str) {
    if let Ok(mut console) = std::fs::OpenOptions::new().write(true).open("/dev/console") {
        // Nobody is left to be told that telling failed.
        let _ignored = console.write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_stage_and_errno() {
        let failure = BootFailure {
            stage: Stage::RootImage,
            operation: "mount /dev/vda\nas erofs".into(),
            source: io::Error::from_raw_os_error(22),
        };
        let line = ConsoleLine(&failure).to_string();
        assert!(
            line.starts_with("pyro-boot-failed stage=root-image errno=22 mount /dev/vda as erofs: "),
            "{line}"
        );
        assert!(!line.contains('\n'));
    }
}
