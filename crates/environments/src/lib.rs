//! Environments: what a workspace starts from. A name becomes an ELF kernel, an initramfs with the modules that
//! the machine needs, and a read-only root image, in a content-addressed cache.
//!
//! - [`Environments`]: the cache: list, ensure, pull, import, verify, remove, prune.
//! - [`Environments::boot_files`]: an environment joined with the guest agent.
//! - [`Environments::requirements`]: what the host lacks.
//!
//! There is one pipeline: a tar archive of a root file system (from `mmdebstrap`, a given archive, or a directory)
//! is indexed, its kernel unpacked, its modules collected, and its tree written as an EROFS image. Nothing needs
//! root. Every call blocks and may run in any number of threads and processes at once; a call that may take long
//! takes a [`Cancellation`]. A builder killed at any moment leaves the environment as it was.
//!
//! This crate knows nothing of machines, workspaces or people, and reads no environment variable.

mod apt_sources;
mod boot;
mod build;
mod builder_process;
mod cancellation;
mod catalogue;
mod config;
mod digest;
mod disk_space;
mod environments;
mod erofs;
mod error;
mod initramfs;
mod joined;
mod kernel;
mod lock;
mod mmdebstrap;
mod modules;
mod name;
mod progress;
mod prune;
mod record;
mod requirements;
mod rootfs;

pub use boot::BootFiles;
pub use cancellation::Cancellation;
pub use catalogue::{CATALOGUE, CATALOGUE_VERSION, PLATFORM, Recipe, recipe};
pub use config::{EnvironmentsConfig, FaultPoint, PackageSources};
pub use digest::{Digest, sha256_of};
pub use disk_space::Shortage;
pub use environments::{Environment, EnvironmentInfo, Environments, Verification, VerifiedFile};
pub use error::{Error, Result};
pub use name::EnvironmentName;
pub use progress::{Phase, Progress};
pub use prune::PruneReport;
pub use record::{EnvironmentRecord, FileRecord, Source};
pub use requirements::Requirement;
pub use rootfs::source::ImportSource;
