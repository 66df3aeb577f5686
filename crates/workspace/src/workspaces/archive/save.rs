//! Takes a stopped workspace to the host as an archive.

use std::{
    fs::File,
    io::{self, BufWriter, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        StoppedDisk, Workspaces,
        stopped_disk::{open_disk, wanted},
    },
    manifest::Manifest,
    writer::{ArchiveWriter, Finished, encode},
};
use crate::{
    error::Error,
    files::{FileError, OutputPlace, TransferProgress},
    task,
};

const BUFFER_BYTES: usize = 256 << 10;

/// An archive to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaveRequest {
    /// The place on the host, in a directory that exists.
    pub path: PathBuf,
    /// Whether what is there is replaced.
    pub force: bool,
}

/// An archive was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Length of the file.
    pub length_bytes: u64,
    /// How much of the disk is in it, before compression.
    pub data_bytes: u64,
    /// SHA-256 of all of the file but its last 32 bytes, which are this digest; in hexadecimal digits.
    pub digest: String,
}

impl Workspaces {
    /// Takes a workspace, which must have no machine, to the host as one file. On an error the place is as it was; dropped, it is
    /// given up at the next piece. That is no activity.
    pub async fn save(
        &self,
        disk: &StoppedDisk,
        request: SaveRequest,
        progress: impl Fn(TransferProgress) + Send + Sync + 'static,
    ) -> Result<Saved, Error> {
        let SaveRequest { path, force } = request;
        let (disk, release) = (disk.clone(), self.shared.resources.release.clone());
        let cancel = CancellationToken::new();
        let _wanted = cancel.clone().drop_guard();
        task::blocking(move || {
            let place = OutputPlace::claim(&path, force, &disk.claims)?;
            let file = place.file()?;
            let finished = write(&disk, &release, &file, place.path(), &cancel, &progress)?;
            drop(disk);
            file.sync_all().map_err(|source| unwritten(place.path(), source))?;
            place.set_mode(0o600)?;
            place.fill()?;
            let Finished { length_bytes, data_bytes, digest } = finished;
            Ok(Saved { length_bytes, data_bytes, digest: hexadecimal(&digest) })
        })
        .await
    }
}

fn write(
    disk: &StoppedDisk,
    release: &str,
    file: &File,
    path: &Path,
    cancel: &CancellationToken,
    progress: &dyn Fn(TransferProgress),
) -> Result<Finished, Error> {
    let root_image = root_image_digest(&disk.boot.root_image, cancel)?;
    let manifest = encode(&Manifest::of(&disk.record, release, root_image))
        .map_err(|source| Error::Archive { path: path.to_owned(), source })?;
    let failed = |source| Error::Files(unwritten(path, source));
    let output = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut writer = ArchiveWriter::begin(output, &manifest).map_err(failed)?;
    let read = open_disk(&disk.layers).and_then(|layers| {
        layers.read_data(disk.record.disk_bytes, &mut |offset, bytes| {
            if !bytes.is_empty() {
                writer.run(offset, bytes)?;
                progress(TransferProgress { bytes: writer.data_bytes() });
            }
            wanted(cancel)
        })
    });
    read.map_err(|source| Error::Disk { workspace: disk.record.id.clone(), source })?;
    writer.finish().map_err(failed)
}

/// Digest of the image that lies under the disk.
fn root_image_digest(image: &Path, cancel: &CancellationToken) -> Result<String, Error> {
    let digest = || -> io::Result<String> {
        let (mut file, mut hash) = (File::open(image)?, Sha256::new());
        let mut piece = vec![0; BUFFER_BYTES];
        loop {
            wanted(cancel)?;
            match file.read(&mut piece)? {
                0 => return Ok(hexadecimal(&hash.finalize())),
                length => hash.update(&piece[..length]),
            }
        }
    };
    digest().map_err(|source| Error::Store { operation: "read", path: image.to_owned(), source })
}

fn unwritten(path: &Path, source: io::Error) -> FileError {
    FileError::Host { operation: "write", path: path.to_owned(), source }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
