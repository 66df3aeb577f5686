//! What a workspace boots, kept for as long as a workspace needs it: its disk goes with these very files, which the
//! cache of environments may lose at any time.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use pyro_engine::BootFiles;
use tracing::info;

use crate::{error::Error, layout::Layout};

/// Before the digest in the name of a directory that is not complete.
const PARTIAL_PREFIX: &str = ".partial-";

/// Keeps these files, by hard links where the file systems allow it; nothing happens if they are kept already.
/// Blocks.
pub(crate) fn keep(layout: &Layout, boot: &BootFiles, digest: &str) -> Result<BootFiles, Error> {
    let kept = kept(layout, digest, boot.kernel_arguments.clone());
    let place = layout.kept_environments().join(digest);
    if place.exists() {
        return Ok(kept);
    }
    let failed = |source| Error::Store { operation: "keep the environment in", path: place.clone(), source };
    // Its name is nobody else's, so that two who keep the same at once do not meet.
    let token = crate::entropy::token::<6>().map_err(failed)?;
    let partial = layout.kept_environments().join(format!("{PARTIAL_PREFIX}{token}-{digest}"));
    let fill = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial)?;
        link_or_copy(&boot.vmlinux, &partial.join(VMLINUX))?;
        link_or_copy(&boot.initramfs, &partial.join(INITRAMFS))?;
        link_or_copy(&boot.root_image, &partial.join(ROOT_IMAGE))?;
        match fs::rename(&partial, &place) {
            // Somebody was faster.
            Err(error) if place.exists() => {
                drop(error);
                fs::remove_dir_all(&partial)
            }
            renamed => renamed,
        }
    };
    fill().map_err(failed)?;
    Ok(kept)
}

/// The kept files of that digest.
pub(crate) fn kept(layout: &Layout, digest: &str, kernel_arguments: Vec<String>) -> BootFiles {
    let place = layout.kept_environments().join(digest);
    BootFiles {
        vmlinux: place.join(VMLINUX),
        initramfs: place.join(INITRAMFS),
        root_image: place.join(ROOT_IMAGE),
        kernel_arguments,
    }
}

/// What is kept and no workspace needs. Blocks.
pub(crate) fn unneeded(layout: &Layout, needed: &HashSet<String>) -> Result<Vec<PathBuf>, Error> {
    let directory = layout.kept_environments();
    let failed = |source| Error::Store { operation: "look over", path: directory.clone(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_needed = |name: &str| name.starts_with(PARTIAL_PREFIX) || needed.contains(name);
        if !entry.file_name().to_str().is_some_and(is_needed) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes what killed daemons left half kept. Called before anything is kept. Blocks.
pub(crate) fn remove_partial(layout: &Layout) -> Result<(), Error> {
    let directory = layout.kept_environments();
    let failed = |source| Error::Store { operation: "look over", path: directory.clone(), source };
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PARTIAL_PREFIX)) {
            fs::remove_dir_all(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

const VMLINUX: &str = "vmlinux";
const INITRAMFS: &str = "initramfs";
const ROOT_IMAGE: &str = "root.image";

fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            info!(file = %from.display(), "copied, since the cache lies on another file system");
            fs::copy(from, to).and_then(|_| fs::File::open(to)?.sync_all())
        }
        linked => linked,
    }
}
