//! Inodes in their extended form (64 bytes: 32-bit owners, times to the second) and their attributes.

use super::layout::Layout;
use crate::rootfs::tree::{Attributes, Kind, NodeId, Tree};

const INODE_BYTES: usize = 64;
const XATTR_HEADER_BYTES: usize = 12;
const EXTENDED: u16 = 1;
const FLAT_PLAIN: u16 = 0;
const FLAT_INLINE: u16 = 2;

/// Prefixes of attribute names that have a number of their own.
const XATTR_PREFIXES: &[(&[u8], u8)] = &[(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];

/// Bytes of inode and attributes; `None` when the attributes do not fit into a block.
pub(super) fn head_bytes(attributes: &Attributes) -> Option<u64> {
    if attributes.xattrs.iter().any(|(_, value)| value.len() > usize::from(u16::MAX)) {
        return None;
    }
    let bytes = (INODE_BYTES + encode_xattrs(attributes).len()) as u64;
    (bytes <= super::BLOCK_BYTES).then_some(bytes)
}

/// Inode and attributes of `id`, ready to be followed by the inline tail.
pub(super) fn encode(tree: &Tree, layout: &Layout, id: NodeId) -> Vec<u8> {
    let node = tree.node(id);
    let place = layout.place(id);
    let xattrs = encode_xattrs(&node.attributes);
    let form = if place.inline_bytes > 0 { FLAT_INLINE } else { FLAT_PLAIN };
    let xattr_count = if xattrs.is_empty() { 0 } else { (xattrs.len() - XATTR_HEADER_BYTES) / 4 + 1 };
    let where_or_what = match node.kind {
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            device_number(major, minor)
        }
        _ => place.first_block,
    };

    let mut inode = Vec::with_capacity(INODE_BYTES + xattrs.len());
    inode.extend_from_slice(&(EXTENDED | form << 1).to_le_bytes());
    inode.extend_from_slice(&u16::try_from(xattr_count).unwrap_or(0).to_le_bytes());
    inode.extend_from_slice(&(node.attributes.mode | type_bits(&node.kind)).to_le_bytes());
    inode.extend_from_slice(&[0; 2]);
    inode.extend_from_slice(&place.size_bytes.to_le_bytes());
    inode.extend_from_slice(&where_or_what.to_le_bytes());
    inode.extend_from_slice(&u32::try_from(place.number()).unwrap_or(u32::MAX).to_le_bytes());
    inode.extend_from_slice(&node.attributes.uid.to_le_bytes());
    inode.extend_from_slice(&node.attributes.gid.to_le_bytes());
    inode.extend_from_slice(&node.attributes.mtime_s.to_le_bytes());
    inode.extend_from_slice(&0_u32.to_le_bytes());
    inode.extend_from_slice(&place.links.to_le_bytes());
    inode.extend_from_slice(&[0; 16]);
    inode.extend_from_slice(&xattrs);
    inode
}

fn encode_xattrs(attributes: &Attributes) -> Vec<u8> {
    let mut entries = Vec::new();
    for (name, value) in &attributes.xattrs {
        // Other name spaces (`system.` and its access control lists) are the host's, not the image's.
        let Some((suffix, index)) =
            XATTR_PREFIXES.iter().find_map(|(prefix, index)| Some((name.strip_prefix(*prefix)?, *index)))
        else {
            continue;
        };
        let (Ok(name_length), Ok(value_length)) = (u8::try_from(suffix.len()), u16::try_from(value.len()))
        else {
            continue;
        };
        entries.extend_from_slice(&[name_length, index]);
        entries.extend_from_slice(&value_length.to_le_bytes());
        entries.extend_from_slice(suffix);
        entries.extend_from_slice(value);
        entries.resize(entries.len().next_multiple_of(4), 0);
    }
    if entries.is_empty() {
        return entries;
    }
    let mut xattrs = vec![0; XATTR_HEADER_BYTES];
    xattrs.append(&mut entries);
    xattrs
}

fn type_bits(kind: &Kind) -> u16 {
    match kind {
        Kind::Fifo => 0o010_000,
        Kind::CharacterDevice { .. } => 0o020_000,
        Kind::Directory(_) => 0o040_000,
        Kind::BlockDevice { .. } => 0o060_000,
        Kind::File { .. } => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
    }
}

/// The kernel's 32-bit encoding: 12 bits of major number between the low 8 and the high 12 of the minor.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}
