//! Where every inode and every file's data goes.

use std::collections::BTreeMap;

use super::{BLOCK_BYTES, SLOT_BYTES, directory, inode};
use crate::rootfs::tree::{Kind, NodeId, ROOT, Tree};

/// Tails longer than this go to the data area, so that inodes stay close together: listing a directory
/// reads few blocks, which is what an emulated guest feels.
const MAX_INLINE_BYTES: u64 = 1024;
/// Metadata blocks with room left that are looked at for a new inode.
const OPEN_BLOCKS: usize = 32;

/// Place of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Byte offset in the metadata area; a multiple of a slot.
    pub(super) position: u64,
    /// Size as `stat` shows it.
    pub(super) size_bytes: u64,
    /// How much of the end of the content follows the inode.
    pub(super) inline_bytes: u64,
    /// First data block, counted from the start of the image.
    pub(super) first_block: u32,
    /// Names, and for directories also `.` and the `..` of each child.
    pub(super) links: u32,
    /// The directory above, for directories.
    pub(super) parent: NodeId,
}

impl Place {
    /// Number by which directories refer to the inode: slots from the start of the image, so never 0.
    pub(super) fn number(&self) -> u64 {
        (BLOCK_BYTES + self.position) / SLOT_BYTES
    }
}

/// What does not fit into the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Overflow {
    #[error("it is larger than 16 TiB")]
    TooLarge,
    #[error("the extended attributes of a file are larger than a block, or of an unknown kind")]
    Attributes,
}

#[derive(Debug)]
pub(super) struct Layout {
    places: BTreeMap<NodeId, Place>,
    by_block: BTreeMap<u64, Vec<NodeId>>,
    pub(super) in_data_order: Vec<(NodeId, u32)>,
    pub(super) metadata_blocks: u64,
    pub(super) data_blocks: u64,
}

impl Layout {
    pub(super) fn plan(tree: &Tree) -> Result<Self, Overflow> {
        let mut layout = Self {
            places: BTreeMap::new(),
            by_block: BTreeMap::new(),
            in_data_order: Vec::new(),
            metadata_blocks: 0,
            data_blocks: 0,
        };
        let order = layout.count_links(tree);
        layout.place_inodes(tree, &order)?;
        layout.place_data(&order)?;
        Ok(layout)
    }

    pub(super) fn place(&self, id: NodeId) -> Place {
        self.places.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn nodes_in_metadata_block(&self, block: u64) -> &[NodeId] {
        self.by_block.get(&block).map_or(&[], Vec::as_slice)
    }

    pub(super) fn inodes(&self) -> u64 {
        self.places.len() as u64
    }

    pub(super) fn total_blocks(&self) -> u64 {
        1 + self.metadata_blocks + self.data_blocks
    }

    /// Walks the tree, the children of one directory together; the order is the order on the disk.
    fn count_links(&mut self, tree: &Tree) -> Vec<NodeId> {
        let mut order = vec![ROOT];
        self.places.insert(ROOT, Place { links: 2, parent: ROOT, ..Place::default() });
        let mut directories = vec![ROOT];
        while let Some(directory) = directories.pop() {
            let mut below = Vec::new();
            for (_, child) in tree.children(directory) {
                let is_directory = matches!(tree.node(child).kind, Kind::Directory(_));
                if is_directory {
                    below.push(child);
                    if let Some(place) = self.places.get_mut(&directory) {
                        place.links += 1;
                    }
                }
                let place = self.places.entry(child).or_insert_with(|| {
                    order.push(child);
                    Place { parent: directory, links: u32::from(is_directory), ..Place::default() }
                });
                place.links += 1;
            }
            directories.extend(below.into_iter().rev());
        }
        order
    }

    fn place_inodes(&mut self, tree: &Tree, order: &[NodeId]) -> Result<(), Overflow> {
        // Room left in blocks that are not full: (bytes used, block).
        let mut open: Vec<(u64, u64)> = Vec::new();
        for id in order {
            let node = tree.node(*id);
            let size_bytes = match &node.kind {
                Kind::File { size_bytes, .. } => *size_bytes,
                Kind::Symlink(target) => target.len() as u64,
                Kind::Directory(_) => directory::size_bytes(tree, *id),
                _ => 0,
            };
            let head = inode::head_bytes(&node.attributes).ok_or(Overflow::Attributes)?;
            let tail = size_bytes % BLOCK_BYTES;
            // The kernel keeps only links stored beside their inode in memory.
            let limit = if matches!(node.kind, Kind::Symlink(_)) { BLOCK_BYTES } else { MAX_INLINE_BYTES };
            let inline_bytes = if tail <= limit && head + tail <= BLOCK_BYTES { tail } else { 0 };
            let needed = (head + inline_bytes).next_multiple_of(SLOT_BYTES);

            let best =
                (0..open.len()).filter(|at| open[*at].0 + needed <= BLOCK_BYTES).max_by_key(|at| open[*at].0);
            let at = best.unwrap_or_else(|| {
                if open.len() == OPEN_BLOCKS {
                    let fullest = (0..open.len()).max_by_key(|at| open[*at].0).unwrap_or(0);
                    open.swap_remove(fullest);
                }
                open.push((0, self.metadata_blocks));
                self.metadata_blocks += 1;
                open.len() - 1
            });
            let (used, block) = &mut open[at];
            if let Some(place) = self.places.get_mut(id) {
                place.position = *block * BLOCK_BYTES + *used;
                place.size_bytes = size_bytes;
                place.inline_bytes = inline_bytes;
            }
            self.by_block.entry(*block).or_default().push(*id);
            *used += needed;
        }
        Ok(())
    }

    fn place_data(&mut self, order: &[NodeId]) -> Result<(), Overflow> {
        let first = 1 + self.metadata_blocks;
        for id in order {
            let Some(place) = self.places.get_mut(id) else { continue };
            let blocks = (place.size_bytes - place.inline_bytes).div_ceil(BLOCK_BYTES);
            if blocks == 0 {
                continue;
            }
            place.first_block = u32::try_from(first + self.data_blocks).map_err(|_| Overflow::TooLarge)?;
            self.in_data_order.push((*id, place.first_block));
            self.data_blocks += blocks;
        }
        u32::try_from(self.total_blocks()).map(drop).map_err(|_| Overflow::TooLarge)
    }
}
