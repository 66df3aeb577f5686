//! Layers of a writable disk as new files: an empty one, and one that holds what several hold together.
//!
//! Both are what QEMU writes to next: version 3 of its format, clusters of 64 KiB, no name of a backing file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::block::qcow2::writer::{CLUSTER_BYTES, TABLE_COVERS, TABLE_ENTRIES, Writer};
use crate::block::qcow2::{Cluster, Qcow2, READS_AS_ZERO};
use crate::record::Origin;

/// Makes an empty layer of a disk of `virtual_bytes`, some 16 KiB on the host.
///
/// # Errors
/// Of the system; a file that is there already is one and stays.
pub fn create(path: &Path, virtual_bytes: u64) -> io::Result<()> {
    Writer::begin(new_file(path)?, virtual_bytes)?.finish().map(drop)
}

/// Writes what adjacent layers hold together to a new file: the lowest first, each over the one before. What none of them has
/// stays that of whatever is below; what is zero in them stays zero, since it hides what is below. The disk must not get smaller
/// from a layer to the next, nor from what is below them.
///
/// The new layer and its name are durable at return; after an error there is none. `going` hears of the bytes so far, and ends
/// the work by an error. Memory does not grow with the layers' contents.
///
/// # Errors
/// What is wrong with a layer, which may be hostile: then nothing of it is to be believed. [`Error::Unsupported`] for one whose
/// clusters are not of 64 KiB. [`Error::Write`], which an end by `going` is too.
pub fn merge(
    layers: &[PathBuf],
    to: &Path,
    going: &mut dyn FnMut(u64) -> io::Result<()>,
) -> Result<(), Error> {
    let merge = Merge::open(layers)?;
    let file = new_file(to).map_err(written)?;
    let merged = merge.write(file, going).and_then(|file| make_durable(&file, to).map_err(written));
    if merged.is_err() {
        // What stays is garbage, to whoever finds it.
        drop(fs::remove_file(to));
    }
    merged
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn make_durable(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn written(source: io::Error) -> Error {
    Error::Write { object: "the merged layer", source }
}

/// Adjacent layers that are to become one.
#[derive(Debug)]
struct Merge {
    /// The uppermost first.
    layers: Vec<Qcow2>,
    virtual_bytes: u64,
    /// More than they have together cannot come of them, unless one says of a cluster twice that it is used.
    most_clusters: u64,
}

impl Merge {
    fn open(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut layers = Vec::with_capacity(paths.len());
        let (mut virtual_bytes, mut most_clusters) = (0, 0);
        for path in paths {
            let origin = Origin::new(path);
            let layer = Qcow2::open(origin.clone(), None)?;
            if layer.cluster_bytes() != CLUSTER_BYTES {
                return Err(origin.unsupported("clusters of another size than 64 KiB"));
            }
            if layer.virtual_bytes() < virtual_bytes {
                return Err(origin.corrupt(24, "the disk is smaller than in the layer below"));
            }
            virtual_bytes = layer.virtual_bytes();
            most_clusters += layer.file_clusters();
            layers.insert(0, layer);
        }
        if layers.is_empty() {
            return Err(Origin::new(Path::new("")).unsupported("no layers"));
        }
        Ok(Self { layers, virtual_bytes, most_clusters })
    }

    fn write(&self, file: File, going: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<File, Error> {
        let mut to = Writer::begin(file, self.virtual_bytes).map_err(written)?;
        for number in 0..self.virtual_bytes.div_ceil(TABLE_COVERS) {
            let tables = self.layers.iter().map(|layer| layer.passing_table(number));
            let tables: Vec<Option<Arc<[u64]>>> = tables.collect::<Result<_, Error>>()?;
            if tables.iter().any(Option::is_some) {
                self.write_table(number, &tables, &mut to, going)?;
            }
            going(to.clusters() * CLUSTER_BYTES).map_err(written)?;
        }
        to.finish().map_err(written)
    }

    /// Writes a second-level table, and before it the clusters that it speaks for.
    fn write_table(
        &self,
        number: u64,
        tables: &[Option<Arc<[u64]>>],
        to: &mut Writer,
        going: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut entries = Vec::new();
        let mut bytes = vec![0; usize::try_from(CLUSTER_BYTES).unwrap_or(0)];
        for index in 0..TABLE_ENTRIES {
            let offset = number * TABLE_COVERS + index * CLUSTER_BYTES;
            let entry = match self.uppermost(tables, index, offset)? {
                None => 0,
                Some((_, Cluster::Lower | Cluster::Zero)) => READS_AS_ZERO,
                Some((layer, Cluster::At(at))) => {
                    layer.read_cluster(at, &mut bytes)?;
                    clear_behind_end(&mut bytes, layer.virtual_bytes() - offset);
                    if is_zero(&bytes) {
                        READS_AS_ZERO
                    } else {
                        self.check_room(layer, to)?;
                        let entry = to.cluster(&bytes).map_err(written)?;
                        going(to.clusters() * CLUSTER_BYTES).map_err(written)?;
                        entry
                    }
                }
            };
            entries.push(entry);
        }
        if entries.iter().any(|entry| *entry != 0) {
            self.check_room(&self.layers[0], to)?;
            to.table(number, &entries).map_err(written)?;
        }
        Ok(())
    }

    /// The cluster at `offset` of the uppermost layer that has it; none: it is that of whatever is below.
    fn uppermost(
        &self,
        tables: &[Option<Arc<[u64]>>],
        index: u64,
        offset: u64,
    ) -> Result<Option<(&Qcow2, Cluster)>, Error> {
        for (layer, table) in self.layers.iter().zip(tables) {
            // Behind its end a layer hides what is below, where there is nothing: no disk gets smaller.
            if offset >= layer.virtual_bytes() {
                break;
            }
            let entry = usize::try_from(index).ok().and_then(|index| table.as_ref()?.get(index)).copied();
            match layer.understood(entry.unwrap_or(0), offset)? {
                Cluster::Lower => {}
                found => return Ok(Some((layer, found))),
            }
        }
        Ok(None)
    }

    fn check_room(&self, layer: &Qcow2, to: &Writer) -> Result<(), Error> {
        if to.clusters() >= self.most_clusters {
            return Err(layer.origin().corrupt(0, "clusters are used more than once"));
        }
        Ok(())
    }
}

/// What lies in a disk's last cluster behind its end is zero for the layers above, whatever the file has there.
fn clear_behind_end(bytes: &mut [u8], left: u64) {
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    if let Some(behind) = bytes.get_mut(left..) {
        behind.fill(0);
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Nearly always the first look says no.
    bytes.chunks(4096).all(|page| page.iter().fold(0, |any, byte| any | byte) == 0)
}
