//! The disk of a workspace without a machine: listed, read and taken out by the host, without booting it.
//!
//! The driver *lends* it. As long as it is lent no machine starts on it, so that what is read is of one moment; whoever has it
//! may be slow, and the workspace can be deleted meanwhile, which takes the names of the files away and not the open files.
//!
//! Everything read here was written by a guest. It is data, in bounded pieces.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use pyro_disk::{ArchiveLimits, Content, Disk, Format, Layer, ListLimits, Listing, Root};
use pyro_engine::{BootFiles, DiskFormat, DiskLayer, DiskLayers};
use tokio_util::sync::CancellationToken;

use super::{
    WorkspaceId, WorkspaceRecord, Workspaces, disk::WorkspaceDisk, driver::Request, kept_environment,
};
use crate::{
    error::Error,
    files::{Claims, FileError, OutputPlace, TransferProgress},
    layout::Layout,
    task,
};

/// What an archive of a whole guest may hold: more than an ext4 of 256 GiB, the largest disk, which has an inode for each 16 KiB.
const ARCHIVE_LIMITS: ArchiveLimits = ArchiveLimits { members: 50_000_000, content_bytes: 1 << 40 };

const BUFFER_BYTES: usize = 256 << 10;

/// Whether a disk is lent; kept by the driver.
#[derive(Clone, Debug, Default)]
pub(super) struct Lending(Arc<()>);

impl Lending {
    /// Whether somebody has the disk.
    pub(super) fn is_lent(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// The right to read a disk, until it is dropped.
#[derive(Clone, Debug)]
pub struct StoppedDisk {
    /// Whose it is, and its size; no layer is larger but one that was tampered with.
    pub(super) record: Arc<WorkspaceRecord>,
    pub(super) layers: DiskLayers,
    pub(super) boot: BootFiles,
    pub(super) claims: Claims,
    lent: Lending,
}

/// In which form a disk is taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskForm {
    /// The writable disk alone, as an image with holes.
    Raw,
    /// Everything the guest sees, as a tar archive.
    Tree,
}

/// Where a disk is taken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskExport {
    /// In which form.
    pub form: DiskForm,
    /// The place on the host, in a directory that exists.
    pub path: PathBuf,
    /// Whether what is there is replaced.
    pub force: bool,
}

/// A disk was taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskExported {
    /// Length of the file.
    pub length_bytes: u64,
    /// What it takes on the host.
    pub allocated_bytes: u64,
}

impl Workspaces {
    /// Borrows the disk of a workspace, which must have no machine. That is no activity: its life goes on as before.
    pub async fn disk(&self, reference: &str) -> Result<StoppedDisk, Error> {
        let id = self.resolve(reference)?;
        self.ask(&id, Request::ReadDisk).await
    }
}

impl StoppedDisk {
    /// Lends the disk of a workspace that is stopped.
    pub(super) fn lend(layout: &Layout, record: &WorkspaceRecord, lending: &Lending) -> Self {
        Self {
            record: Arc::new(record.clone()),
            layers: WorkspaceDisk::of(layout, &record.id).layers(&record.disk),
            boot: kept_environment::kept(layout, &record.boot_digest, record.kernel_arguments.clone()),
            claims: Claims::of(layout),
            lent: lending.clone(),
        }
    }

    /// Whose it is.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.record.id
    }

    /// What is in the directory at an absolute path of the guest, or that itself; the first `limit` by their paths, after `after`.
    pub async fn list(
        &self,
        path: Vec<u8>,
        recursive: bool,
        after: Option<Vec<u8>>,
        limit: u64,
    ) -> Result<Listing, Error> {
        let entries = usize::try_from(limit).unwrap_or(usize::MAX);
        let limits = ListLimits { recursive, after, entries };
        self.look(move |root| root.list(&path, &limits)).await
    }

    /// At most so many bytes of the file at an absolute path of the guest, from `offset` on. Links are followed.
    pub async fn read(&self, path: Vec<u8>, offset: u64, max_bytes: u64) -> Result<Content, Error> {
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        self.look(move |root| root.read(&path, offset, max_bytes)).await
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Root) -> Result<T, pyro_disk::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (image, layers, lent) = (self.boot.root_image.clone(), self.layers.clone(), self.lent.clone());
        let workspace = self.record.id.clone();
        task::blocking(move || {
            let looked = open_root(&image, &layers).and_then(|root| look(&root));
            // Whoever asked may be gone: until here the files are read.
            drop(lent);
            looked.map_err(|source| Error::Disk { workspace, source })
        })
        .await
    }

    /// Takes the disk to the host. On an error the place is as it was; dropped, it is given up at the next piece.
    pub async fn export(
        &self,
        export: DiskExport,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<DiskExported, Error> {
        let DiskExport { form, path, force } = export;
        let (image, layers, lent) = (self.boot.root_image.clone(), self.layers.clone(), self.lent.clone());
        let (claims, workspace, disk_bytes) =
            (self.claims.clone(), self.record.id.clone(), self.record.disk_bytes);
        let cancel = CancellationToken::new();
        let _wanted = cancel.clone().drop_guard();
        task::blocking(move || {
            let place = OutputPlace::claim(&path, force, &claims)?;
            let file = place.file()?;
            let written = match form {
                DiskForm::Raw => open_disk(&layers).and_then(|disk| {
                    disk.write_raw(&file, disk_bytes, &mut |bytes| {
                        progress(TransferProgress { bytes });
                        wanted(&cancel)
                    })
                    .map(drop)
                }),
                DiskForm::Tree => open_root(&image, &layers).and_then(|root| {
                    let counted = Counted { file: &file, bytes: 0, progress: &progress, cancel: &cancel };
                    // A header for each of some ten thousand files is written by itself.
                    let mut output = BufWriter::with_capacity(BUFFER_BYTES, counted);
                    root.write_tar(&mut output, &ARCHIVE_LIMITS).map(drop)
                }),
            };
            drop(lent);
            written.map_err(|source| Error::Disk { workspace, source })?;
            let failed =
                |source| FileError::Host { operation: "write", path: place.path().to_owned(), source };
            file.sync_all().map_err(failed)?;
            let made = file.metadata().map_err(failed)?;
            place.set_mode(0o600)?;
            place.fill()?;
            Ok(DiskExported { length_bytes: made.len(), allocated_bytes: made.blocks() * 512 })
        })
        .await
    }
}

fn open_root(image: &Path, layers: &DiskLayers) -> Result<Root, pyro_disk::Error> {
    Root::open(Disk::open_raw(image)?, open_disk(layers)?)
}

pub(super) fn open_disk(layers: &DiskLayers) -> Result<Disk, pyro_disk::Error> {
    let layer = |layer: &DiskLayer| Layer {
        path: layer.path.clone(),
        format: match layer.format {
            DiskFormat::Raw => Format::Raw,
            DiskFormat::Qcow2 => Format::Qcow2,
        },
    };
    let layers: Vec<Layer> = layers.lower.iter().chain([&layers.active]).map(layer).collect();
    Disk::open(&layers)
}

pub(super) fn wanted(cancel: &CancellationToken) -> io::Result<()> {
    match cancel.is_cancelled() {
        true => Err(io::Error::other("nobody waits for it any more")),
        false => Ok(()),
    }
}

/// A file that is written from its beginning on, told of as it grows.
struct Counted<'a, P> {
    file: &'a File,
    bytes: u64,
    progress: &'a P,
    cancel: &'a CancellationToken,
}

impl<P: Fn(TransferProgress)> Write for Counted<'_, P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wanted(self.cancel)?;
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        (self.progress)(TransferProgress { bytes: self.bytes });
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
