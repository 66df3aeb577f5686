//! A workspace's disk: the template's disk at the bottom, layers that nobody writes to any more, and one that takes the writes.
//!
//! ```text
//!   base.raw  ─  <layer>.qcow2  ─ … ─  <layer>.qcow2  ─  active
//!   └─ shared with the template      └─ frozen by snapshots, shared with snapshots and relatives by hard links
//! ```
//!
//! Which layers there are and in which order is only in the [record](DiskRecord), never in the files, which a guest's VMM could
//! have written. A capture switches a running machine to a new layer: the record names it before, as `next`. Whether the
//! switch was made, the machine tells as long as it lives; when it is gone, `next` may be taken for the active one in either
//! case, since without a switch it is empty.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use pyro_engine::{DiskFormat, DiskLayer, DiskLayers, Engine};
use serde::{Deserialize, Serialize};

use super::{
    WorkspaceId,
    driver::MergedLayers,
    frozen_file::{FrozenFile, FrozenFileError},
    id::LayerId,
    merge_policy::LayerCost,
    snapshots::SnapshotRecord,
};
use crate::{error::Error, layout::Layout};

/// Which layers a disk has above its base.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct DiskRecord {
    /// Nobody writes to these any more; the lowest first.
    pub frozen: Vec<FrozenLayer>,
    /// Takes the writes; none: the first one that there was.
    pub active: Option<LayerId>,
    /// A capture is to make this the active one.
    pub next: Option<LayerId>,
    /// Layers that became one, which snapshots may still have apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<MergedLayers>,
}

/// A layer that nobody writes to any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrozenLayer {
    /// None: the first one that there was.
    pub id: Option<LayerId>,
    /// How its file looked when it was frozen.
    pub file: FrozenFile,
}

impl DiskRecord {
    /// The layers of the disk when the active one is frozen as it is now. `place` is where its files are.
    pub(super) fn freeze(&self, place: &WorkspaceDisk) -> Result<Vec<FrozenLayer>, Error> {
        let path = place.layer(self.active.as_ref());
        let file = FrozenFile::note(&path).map_err(|source| Error::Store {
            operation: "look at the layer",
            path,
            source,
        })?;
        let mut frozen = self.frozen.clone();
        frozen.push(FrozenLayer { id: self.active.clone(), file });
        Ok(frozen)
    }

    /// What the record is once the machine is gone, whether or not it had switched to the next layer.
    pub(super) fn settled(&self, place: &WorkspaceDisk) -> Result<Self, Error> {
        match &self.next {
            Some(next) if place.layer(Some(next)).exists() => self.switched(place),
            // It was not even made.
            _ => Ok(Self { next: None, ..self.clone() }),
        }
    }

    /// What the record is when the machine has switched to the next layer, if there is one.
    pub(super) fn switched(&self, place: &WorkspaceDisk) -> Result<Self, Error> {
        match &self.next {
            Some(next) => Ok(Self {
                frozen: self.freeze(place)?,
                active: Some(next.clone()),
                next: None,
                merged: self.merged.clone(),
            }),
            None => Ok(self.clone()),
        }
    }

    /// Files of layers that it needs.
    fn files(&self) -> impl Iterator<Item = String> + '_ {
        let frozen = self.frozen.iter().map(|layer| layer.id.as_ref());
        let next = self.next.as_ref().map(|next| file_name(Some(next)));
        let merged = self.merged.as_ref().map(|merged| file_name(merged.layer.id.as_ref()));
        frozen.chain([self.active.as_ref()]).map(file_name).chain(next).chain(merged)
    }
}

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
        self.make_directory()?;
        // The link keeps the file when its template is pruned or made again.
        fs::hard_link(template_disk, self.base()).map_err(self.failed())?;
        self.create_layer(engine, None, disk_bytes)?;
        Ok(self.layers(&DiskRecord::default()))
    }

    /// Begins the disk of a relative with the layers that it shares with this one, and a new one of its own.
    pub(super) fn share(
        &self,
        with: &Self,
        frozen: &[FrozenLayer],
        engine: &dyn Engine,
        disk_bytes: u64,
    ) -> Result<DiskRecord, Error> {
        with.make_directory()?;
        fs::hard_link(self.base(), with.base()).map_err(with.failed())?;
        for layer in frozen {
            let id = layer.id.as_ref();
            fs::hard_link(self.layer(id), with.layer(id)).map_err(with.failed())?;
        }
        let active = LayerId::random()?;
        with.create_layer(engine, Some(&active), disk_bytes)?;
        Ok(DiskRecord { frozen: frozen.to_vec(), active: Some(active), ..DiskRecord::default() })
    }

    /// Makes an empty layer, durable with its name.
    pub(super) fn create_layer(
        &self,
        engine: &dyn Engine,
        id: Option<&LayerId>,
        disk_bytes: u64,
    ) -> Result<DiskLayer, Error> {
        let layer = engine
            .create_layer(&self.layer(id), disk_bytes)
            .map_err(|source| Error::Engine { operation: "make the workspace's disk", source })?;
        let synced = fs::File::open(&layer.path)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::File::open(&self.directory)?.sync_all());
        synced.map_err(self.failed())?;
        Ok(layer)
    }

    /// Makes the disk of a new workspace whose content `fill` writes into an empty file of the disk's size. Blocks.
    pub(crate) fn create_filled(
        &self,
        engine: &dyn Engine,
        disk_bytes: u64,
        fill: impl FnOnce(&File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.make_directory()?;
        let base = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.base());
        let base = base.map_err(self.failed())?;
        base.set_len(disk_bytes).map_err(self.failed())?;
        fill(&base)?;
        // As a template's disk: nobody writes to it any more.
        base.set_permissions(Permissions::from_mode(0o400)).map_err(self.failed())?;
        base.sync_all().map_err(self.failed())?;
        self.create_layer(engine, None, disk_bytes)?;
        // The directory's own name.
        File::open(self.directory.join("..")).and_then(|above| above.sync_all()).map_err(self.failed())
    }

    /// What a machine of this workspace is given.
    pub(crate) fn layers(&self, record: &DiskRecord) -> DiskLayers {
        self.layers_of(&record.frozen, record.active.as_ref())
    }

    /// The same of layers that are not those of now.
    pub(super) fn layers_of(&self, frozen: &[FrozenLayer], active: Option<&LayerId>) -> DiskLayers {
        let base = DiskLayer { path: self.base(), format: DiskFormat::Raw };
        let frozen = frozen.iter().map(|layer| self.qcow2(layer.id.as_ref()));
        DiskLayers { lower: [base].into_iter().chain(frozen).collect(), active: self.qcow2(active) }
    }

    /// A layer as the engine has it.
    pub(super) fn qcow2(&self, id: Option<&LayerId>) -> DiskLayer {
        DiskLayer { path: self.layer(id), format: DiskFormat::Qcow2 }
    }

    /// Whether every one of these layers is as it was frozen.
    pub(super) fn check(&self, frozen: &[FrozenLayer]) -> Result<(), FrozenFileError> {
        if !self.base().exists() {
            return Err(FrozenFileError::Missing { path: self.base() });
        }
        frozen.iter().try_for_each(|layer| layer.file.check(&self.layer(layer.id.as_ref())))
    }

    /// Bytes that the workspace's own writes take on the host; of files that it shares, its share.
    /// The base counts only where it is no template's.
    pub(crate) fn used_bytes(&self, owns_base: bool) -> u64 {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?)))
            .filter(|(name, _)| name != BASE || owns_base)
            .map(|(_, about)| about.blocks() * 512 / about.nlink().max(1))
            .sum()
    }

    /// What a snapshot alone takes on the host, bytes, as far as that can be told: its newest layer and its memory.
    pub(super) fn snapshot_bytes(&self, snapshot: &SnapshotRecord) -> u64 {
        let newest = snapshot.disk.last().map(|layer| self.layer(layer.id.as_ref()));
        let layer = newest.and_then(|path| fs::metadata(path).ok()).map_or(0, |about| about.blocks() * 512);
        layer + snapshot.memory.as_ref().map_or(0, |memory| memory.stored_bytes)
    }

    /// What it costs to merge layers. Blocks for a look at each.
    pub(super) fn layer_costs(&self, frozen: &[FrozenLayer]) -> Result<Vec<LayerCost>, Error> {
        let cost = |layer: &FrozenLayer| {
            let path = self.layer(layer.id.as_ref());
            let about = fs::metadata(&path).map_err(|source| Error::Store {
                operation: "look at the layer",
                path,
                source,
            })?;
            Ok(LayerCost { bytes: about.blocks() * 512, is_shared: about.nlink() > 1 })
        };
        frozen.iter().map(cost).collect()
    }

    /// Removes the layers that neither the disk needs nor one of these snapshots' disks.
    pub(super) fn sweep<'a>(
        &self,
        record: &DiskRecord,
        snapshots: impl IntoIterator<Item = &'a [FrozenLayer]>,
    ) -> io::Result<()> {
        let kept = snapshots.into_iter().flatten().map(|layer| file_name(layer.id.as_ref()));
        let needed: HashSet<String> = record.files().chain(kept).chain([BASE.to_owned()]).collect();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let is_layer = |name: &str| name.ends_with(SUFFIX) && !needed.contains(name);
            if entry.file_name().to_str().is_some_and(is_layer) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn make_directory(&self) -> Result<(), Error> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + '_ {
        |source| Error::Store { operation: "make the disk in", path: self.directory.clone(), source }
    }

    fn base(&self) -> PathBuf {
        self.directory.join(BASE)
    }

    /// Where a layer is.
    pub(super) fn layer(&self, id: Option<&LayerId>) -> PathBuf {
        self.directory.join(file_name(id))
    }
}

const BASE: &str = "base.raw";
const SUFFIX: &str = ".qcow2";

fn file_name(id: Option<&LayerId>) -> String {
    format!("{}{SUFFIX}", id.map_or("active", LayerId::as_str))
}
