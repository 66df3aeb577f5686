//! [`Claims`]: the places of the host where something is being made, written down before it is.
//!
//! What is made lies beside its place, under a name that only its maker knows. When he dies, the next daemon finds the
//! claim, a file that is called by the random part of that name and holds the place, and removes what is left. So nothing is
//! ever looked for in directories of the user, and nothing removed that was not ours.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use tracing::{info, warn};

use super::{error::FileError, output_place::OutputPlace};
use crate::{entropy, error::chain, layout::Layout};

/// Random bytes in a name.
const TOKEN_BYTES: usize = 8;

/// All claims of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    directory: PathBuf,
}

/// A claim, and the random part of the name under which something is made.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    token: String,
}

impl Claims {
    pub(crate) fn of(layout: &Layout) -> Self {
        Self { directory: layout.exports() }
    }

    /// Writes down that something will be made for `place`. Blocks.
    pub(super) fn write(&self, place: &Path) -> Result<Claim, FileError> {
        let written = self.try_write(place);
        written.map_err(|source| FileError::Host {
            operation: "write down an export in",
            path: self.directory.clone(),
            source,
        })
    }

    fn try_write(&self, place: &Path) -> io::Result<Claim> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let token = entropy::token::<TOKEN_BYTES>()?;
        let claim = Claim { path: self.directory.join(&token), token };
        let mut file = File::create_new(&claim.path)?;
        let written = std::path::absolute(place)
            .and_then(|place| file.write_all(place.as_os_str().as_bytes()))
            // Before what it is about, also on the disk.
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(&self.directory)?.sync_all());
        match written {
            Ok(()) => Ok(claim),
            Err(error) => {
                claim.forget();
                Err(error)
            }
        }
    }

    /// Removes what the dead have left. Only for whoever knows that none of them lives. A place that cannot be reached now is
    /// looked at again by the next daemon, unless its directory is gone. Blocks.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let Some(token) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            let place = PathBuf::from(OsString::from_vec(fs::read(&path)?));
            let claim = Claim { path, token };
            if !place.is_absolute() {
                // Nothing was made before it was written to its end.
                claim.forget();
                continue;
            }
            match OutputPlace::left(&place, claim) {
                Ok(left) => {
                    info!(path = %place.display(), "removes what is left of an export");
                    drop(left);
                }
                Err(error) => {
                    warn!(path = %place.display(), error = %chain(&error), "what is left of an export cannot be removed");
                }
            }
        }
        Ok(())
    }
}

impl Claim {
    /// The random part of the name under which something is made.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Nothing is left any more.
    pub(super) fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the claim of an export");
        }
    }
}
