//! What is on the disks of a machine that does not run: read without booting, mounting or privileges. And new layers for
//! them.
//!
//! A machine has two disks. The *root image* is read-only (EROFS; ext4 is understood too). The *writable disk* is a
//! chain of layers, a raw image under qcow2 images, and holds one ext4 with the upper halves of two overlays: that of
//! the root, over the image, and that of `/workspace`, over the seed, which is on the same disk.
//!
//! From below:
//!
//! - [`block`]: bytes at an offset, out of the chain of layers;
//! - `ext4` and `erofs` behind `filesystem`: files by their inodes; what a journal holds back is seen as after a mount;
//! - `overlay`: two trees shown as one, with what the kernel wrote down about it;
//! - [`root`]: the tree that programs in the machine saw, and paths as they meant them;
//! - [`list`], [`content`], [`archive`], [`export`], [`data`]: what is asked of it.
//!
//! [`layer`] writes: an empty layer, or one that takes the place of several.
//!
//! Everything that is read may be hostile: whoever escaped from a machine could have written any byte of its disk, and
//! root in the machine any byte of its file system. Whatever the bytes are, reading ends with an answer or an error,
//! in bounded memory and after a bounded number of steps, and opens no file but those that were named. The contents of an
//! answer are believed by nobody: a path in it is bytes.
//!
//! A disk that a machine is writing to at the same time may be read, and then gives errors or a mixture of old and new.
//! Who has to know takes the lock of the disk's active layer first, which is the caller's business.

pub mod archive;
pub mod block;
pub mod content;
mod crc32c;
pub mod data;
mod erofs;
mod error;
pub mod export;
mod ext4;
mod filesystem;
pub mod layer;
pub mod list;
mod overlay;
mod path;
mod record;
pub mod root;

pub use archive::{ArchiveLimits, Archived};
pub use block::{Disk, Format, Layer};
pub use content::Content;
pub use error::Error;
pub use export::Exported;
pub use filesystem::{Kind, Metadata};
pub use list::{Entry, ListLimits, Listing};
pub use path::Shown;
pub use root::{Follow, Root};
