//! Contents of directories: blocks of fixed entries followed by their names, all in byte order.

use super::{BLOCK_BYTES, layout::Layout};
use crate::rootfs::tree::{Kind, NodeId, Tree};

const ENTRY_BYTES: u64 = 12;

/// Size of the directory's content: whole blocks, and the used part of the last one.
pub(super) fn size_bytes(tree: &Tree, id: NodeId) -> u64 {
    let blocks = split_into_blocks(tree, id);
    let last = blocks.last().map_or(0, |block| block.iter().map(|(name, _)| cost(name)).sum());
    (blocks.len() as u64 - 1) * BLOCK_BYTES + last
}

/// The directory's content.
pub(super) fn encode(tree: &Tree, layout: &Layout, id: NodeId) -> Vec<u8> {
    let mut content = Vec::new();
    for block in split_into_blocks(tree, id) {
        content.resize(content.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        let mut name_at = block.len() * ENTRY_BYTES as usize;
        for (name, target) in &block {
            let target = match target {
                Target::Itself => id,
                Target::Above => layout.place(id).parent,
                Target::Child(child) => *child,
            };
            content.extend_from_slice(&layout.place(target).number().to_le_bytes());
            content.extend_from_slice(&u16::try_from(name_at).unwrap_or(0).to_le_bytes());
            content.extend_from_slice(&[type_number(&tree.node(target).kind), 0]);
            name_at += name.len();
        }
        for (name, _) in &block {
            content.extend_from_slice(name);
        }
    }
    content
}

#[derive(Clone, Copy)]
enum Target {
    Itself,
    Above,
    Child(NodeId),
}

/// Entries (with `.` and `..` in their alphabetical places) as they share blocks; never empty.
fn split_into_blocks(tree: &Tree, id: NodeId) -> Vec<Vec<(&[u8], Target)>> {
    let mut entries: Vec<(&[u8], Target)> =
        tree.children(id).map(|(name, id)| (name, Target::Child(id))).collect();
    entries.push((b".", Target::Itself));
    entries.push((b"..", Target::Above));
    entries.sort_by_key(|(name, _)| *name);

    let mut blocks = vec![Vec::new()];
    let mut used = 0;
    for entry in entries {
        if used + cost(entry.0) > BLOCK_BYTES {
            blocks.push(Vec::new());
            used = 0;
        }
        used += cost(entry.0);
        if let Some(block) = blocks.last_mut() {
            block.push(entry);
        }
    }
    blocks
}

fn cost(name: &[u8]) -> u64 {
    ENTRY_BYTES + name.len() as u64
}

fn type_number(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => 1,
        Kind::Directory(_) => 2,
        Kind::CharacterDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}
