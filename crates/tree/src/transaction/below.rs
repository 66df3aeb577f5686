//! [`Below`]: what lies below a directory as one number, so that a directory goes whole only with what was seen in it.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::{
    attributes::{FileKind, Metadata},
    beneath::Root,
    notes::Notes,
    path::RelativePath,
    walk::{Everything, walk},
};

/// Names and kinds of all that lies below a directory; of what is no directory also size and time of last change.
///
/// It is written into journals. Should another release of the standard library hash in another way, a directory looks
/// changed in the one journal that it finds, and is spared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Below(pub(super) u64);

impl Below {
    /// What lies there now. What cannot be looked at does not count.
    pub fn of(root: &Root, directory: &RelativePath) -> Self {
        Self::as_if_at(root, directory, directory)
    }

    /// The same as if the directory were at `place`.
    pub(super) fn as_if_at(root: &Root, directory: &RelativePath, place: &RelativePath) -> Self {
        let mut below = Self::default();
        let walked = walk(root, directory, &mut Everything, &mut Notes::default(), &mut |met, _notes| {
            let path = met.path.below(directory).map(|path| place.join(&path));
            // What would be too long a path there cannot be there.
            if let Some(Ok(path)) = path {
                below.add(&path, met.metadata);
            }
            Ok::<(), Infallible>(())
        });
        match walked {
            Ok(()) => below,
        }
    }

    /// Adds one path, in any order.
    pub fn add(&mut self, path: &RelativePath, metadata: &Metadata) {
        let mut hasher = DefaultHasher::new();
        (path, metadata.kind.word()).hash(&mut hasher);
        if metadata.kind != FileKind::Directory {
            (metadata.size_bytes, metadata.attributes.mtime).hash(&mut hasher);
        }
        self.0 = self.0.wrapping_add(hasher.finish());
    }
}
