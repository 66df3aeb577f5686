//! What a machine boots: an environment joined with the guest agent.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    Environment, Environments, Error, Result,
    digest::{Digest, sha256_of},
    environments::INITRAMFS_DIR,
    initramfs, record,
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

impl Environments {
    /// Joins `environment` with the static binary `agent`. The joined initramfs is kept by the digests of both,
    /// so a new agent costs one small file and not a new Debian.
    pub fn boot_files(&self, environment: &Environment, agent: &Path) -> Result<BootFiles> {
        let binary = fs::read(agent).map_err(Error::io("read", agent))?;
        let agent_digest = sha256_of(&binary);
        let environment_digest = environment.digest();
        let directory = self.platform_dir.join(INITRAMFS_DIR);
        let path = directory.join(format!("{}-{}.cpio", environment_digest.short(), agent_digest.short()));

        let modules = environment.directory.join(record::MODULES);
        let modules_bytes = environment.record.files.get(record::MODULES).map_or(0, |file| file.size_bytes);
        let agent_part = initramfs::agent_part(&binary);
        let whole_bytes = modules_bytes + agent_part.len() as u64;
        if !fs::metadata(&path).is_ok_and(|metadata| metadata.len() == whole_bytes) {
            fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
            let mut temporary = tempfile_in(&directory)?;
            let mut joined = fs::read(&modules).map_err(Error::io("read", &modules))?;
            joined.extend_from_slice(&agent_part);
            temporary.write_all(&joined)?;
            temporary.rename(&path)?;
        }
        Ok(BootFiles {
            vmlinux: environment.vmlinux(),
            initramfs: path,
            root_image: environment.root_image(),
            kernel_arguments: vec!["pyro.rootfs=erofs".to_owned()],
            digest: sha256_of(format!("{environment_digest}\n{agent_digest}\n").as_bytes()),
        })
    }
}

/// A file that is gone again unless it is renamed.
struct Temporary {
    path: PathBuf,
    file: fs::File,
}

fn tempfile_in(directory: &Path) -> Result<Temporary> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = format!(".{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = directory.join(unique);
    let file = fs::File::create(&path).map_err(Error::io("create", &path))?;
    Ok(Temporary { path, file })
}

impl Temporary {
    fn write_all(&mut self, contents: &[u8]) -> Result<()> {
        self.file
            .write_all(contents)
            .and_then(|()| self.file.sync_all())
            .map_err(Error::io("write", &self.path))
    }

    fn rename(self, to: &Path) -> Result<()> {
        fs::rename(&self.path, to).map_err(Error::io("rename", &self.path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _removed = fs::remove_file(&self.path);
    }
}
