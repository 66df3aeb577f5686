//! What a machine boots: an environment joined with the guest agent.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{
    Environment, Environments, Error, Result,
    digest::{Digest, sha256_of},
    joined::{JoinedInitramfs, Joining},
    record::FileIdentity,
};

/// Files and arguments for the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootFiles {
    /// ELF kernel.
    pub vmlinux: PathBuf,
    /// Uncompressed cpio: the environment's modules, then the agent as `/init`.
    pub initramfs: PathBuf,
    /// Read-only root image, to be the first block device.
    pub root_image: PathBuf,
    /// Kernel arguments that go with the image.
    pub kernel_arguments: Vec<String>,
    /// Digest of all three files, part of a template's key.
    pub digest: Digest,
}

/// The agent that was asked for last. Its digest is taken once and not for each machine.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    identity: FileIdentity,
    pub(crate) digest: Digest,
}

impl Environments {
    /// Joins `environment` with the static binary `agent`. The joined initramfs is kept by the digests of both,
    /// so a new agent costs one small file and not a new Debian.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the environment's modules are not what was recorded and are needed now.
    pub fn boot_files(&self, environment: &Environment, agent: &Path) -> Result<BootFiles> {
        let known = self.agent(agent)?;
        let joined = JoinedInitramfs::of(&self.platform_dir, &environment.digest(), &known.digest);
        if !joined.is_intact() {
            let joining = Joining::begin(&self.platform_dir)?;
            // Somebody else may have joined them while this call waited for its turn.
            if !joined.is_intact() {
                let binary = fs::read(agent).map_err(Error::io("read", agent))?;
                expect_digest(agent, &binary, &known.digest)?;
                joining.write(&joined, &environment.modules()?, &binary)?;
            }
        }
        let digest = sha256_of(format!("{}\n{}\n", environment.digest(), known.digest).as_bytes());
        Ok(BootFiles {
            vmlinux: environment.vmlinux(),
            initramfs: joined.path,
            root_image: environment.root_image(),
            kernel_arguments: vec!["pyro.rootfs=erofs".to_owned()],
            digest,
        })
    }

    /// What is known of the binary `path`, which is read when it is not the file that was read last.
    fn agent(&self, path: &Path) -> Result<Agent> {
        let identity = |file: std::io::Result<fs::Metadata>| {
            file.map(FileIdentity::of).map_err(Error::io("inspect", path))
        };
        let present = identity(fs::metadata(path))?;
        let known = self.last_agent();
        if let Some(known) = known.filter(|known| known.identity == present) {
            return Ok(known);
        }
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let identity = identity(file.metadata())?;
        let mut binary = Vec::new();
        file.read_to_end(&mut binary).map_err(Error::io("read", path))?;
        let agent = Agent { identity, digest: sha256_of(&binary) };
        *self.agent.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(agent.clone());
        Ok(agent)
    }

    pub(crate) fn last_agent(&self) -> Option<Agent> {
        self.agent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Refuses `contents` of `file` that are not those of `expected`.
pub(crate) fn expect_digest(file: &Path, contents: &[u8], expected: &Digest) -> Result<()> {
    let found = sha256_of(contents);
    if found == *expected {
        return Ok(());
    }
    let [expected, found] = [expected, &found].map(|digest| format!("sha256:{digest}"));
    Err(Error::Damaged { file: file.to_owned(), expected, found })
}
