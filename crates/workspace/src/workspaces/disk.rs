//! A workspace's disk: the template's disk, kept by a hard link, under a layer that takes the writes.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use pyro_engine::{DiskFormat, DiskLayer, DiskLayers, Engine};

use super::WorkspaceId;
use crate::{error::Error, layout::Layout};

/// The files of one workspace's disk.
#[derive(Clone, Debug)]
pub(crate) struct WorkspaceDisk {
    directory: PathBuf,
}

impl WorkspaceDisk {
    pub(crate) fn of(layout: &Layout, id: &WorkspaceId) -> Self {
        Self { directory: layout.workspace(id).join("disk") }
    }

    /// Makes the disk of a new workspace over the disk of a template.
    pub(crate) fn create(
        &self,
        engine: &dyn Engine,
        template_disk: &Path,
        disk_bytes: u64,
    ) -> Result<DiskLayers, Error> {
        let failed = |source: io::Error| Error::Store {
            operation: "make the disk in",
            path: self.directory.clone(),
            source,
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        // The link keeps the file when its template is pruned or made again.
        fs::hard_link(template_disk, self.base()).map_err(failed)?;
        engine
            .create_layer(&self.active(), disk_bytes)
            .map_err(|source| Error::Engine { operation: "make the workspace's disk", source })?;
        Ok(self.layers())
    }

    /// What a machine of this workspace is given.
    pub(crate) fn layers(&self) -> DiskLayers {
        DiskLayers {
            lower: vec![DiskLayer { path: self.base(), format: DiskFormat::Raw }],
            active: DiskLayer { path: self.active(), format: DiskFormat::Qcow2 },
        }
    }

    /// Bytes that the workspace's own writes take on the host.
    pub(crate) fn used_bytes(&self) -> u64 {
        fs::metadata(self.active()).map_or(0, |active| active.blocks() * 512)
    }

    fn base(&self) -> PathBuf {
        self.directory.join("base.raw")
    }

    fn active(&self) -> PathBuf {
        self.directory.join("active.qcow2")
    }
}
