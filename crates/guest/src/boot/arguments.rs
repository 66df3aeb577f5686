//! What the host says on the kernel's command line: words that begin with `pyro.`; all others are the kernel's.

use std::io;

/// File system of the read-only root image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootFileSystem {
    /// `pyro.rootfs=erofs`, the default.
    Erofs,
    /// `pyro.rootfs=ext4`.
    Ext4,
}

impl RootFileSystem {
    /// The kernel's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Ext4 => "ext4",
        }
    }
}

/// The agent's own arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelArguments {
    /// Type of the root image.
    pub root_file_system: RootFileSystem,
    /// `pyro.debug`: print the progress of the boot to the console.
    pub debug: bool,
}

impl KernelArguments {
    /// Reads a command line, such as the content of `/proc/cmdline`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a root file system that the agent does not know. Other unknown words
    /// are skipped: a newer host may say more than this agent understands.
    pub fn parse(line: &str) -> io::Result<Self> {
        let mut arguments = Self { root_file_system: RootFileSystem::Erofs, debug: false };
        for word in line.split_ascii_whitespace() {
            match word.strip_prefix("pyro.") {
                Some("debug") => arguments.debug = true,
                Some("rootfs=erofs") => arguments.root_file_system = RootFileSystem::Erofs,
                Some("rootfs=ext4") => arguments.root_file_system = RootFileSystem::Ext4,
                Some(unknown) if unknown.starts_with("rootfs=") => {
                    let message = format!("unknown root file system in {word:?}");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                Some(_) | None => {}
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_words_are_found_among_the_kernels() {
        let arguments =
            KernelArguments::parse("quiet pyro.rootfs=ext4 panic=-1 pyro.debug pyro.future=1\n").unwrap();
        assert_eq!(arguments, KernelArguments { root_file_system: RootFileSystem::Ext4, debug: true });
    }

    #[test]
    fn an_unknown_root_file_system_is_refused() {
        assert!(KernelArguments::parse("pyro.rootfs=btrfs").is_err());
    }
}
