//! What stands for the disks of fake machines: directories beside their layers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{DiskLayer, DiskLayers, EngineError};

/// The directory that is the disk of machines on this active layer. Like the layer it outlives them.
pub fn disk_directory(active: &Path) -> PathBuf {
    with(active, ".files")
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The directory of the active layer, opened. One that is not there yet begins as that of the topmost layer below that has one, or
/// empty. Blocks.
pub(super) fn open(disk: &DiskLayers) -> Result<fs::File, EngineError> {
    let directory = disk_directory(&disk.active.path);
    if !directory.exists() {
        let lower = disk.lower.iter().rev().map(|layer| disk_directory(&layer.path));
        match lower.into_iter().find(|directory| directory.is_dir()) {
            Some(below) => {
                let draft = copy(&below, &directory)?;
                rename(&draft, &directory)?;
            }
            None => {
                fs::create_dir_all(&directory).map_err(|e| EngineError::file("create", &directory, e))?;
            }
        }
    }
    fs::File::open(&directory).map_err(|e| EngineError::file("open", &directory, e))
}

/// The directory of `old` becomes that of `next`, for all who have it open too, and that of `old` a copy of it. After an error all is
/// as before. Blocks.
pub(super) fn switch(old: &Path, next: &Path) -> Result<(), EngineError> {
    let (old, next) = (disk_directory(old), disk_directory(next));
    let draft = copy(&old, &old)?;
    let switched = rename(&old, &next).and_then(|()| {
        rename(&draft, &old).inspect_err(|_| {
            // What was wrong first is what is told.
            let _back = rename(&next, &old);
        })
    });
    if switched.is_err() {
        remove(&draft)?;
    }
    switched
}

/// The directory of a layer becomes what these hold together: each has all that those below it have. Without one in any of them
/// there is none. Blocks.
pub(super) fn merge(layers: &[DiskLayer], to: &Path) -> Result<(), EngineError> {
    let mut directories = layers.iter().rev().map(|layer| disk_directory(&layer.path));
    match directories.find(|directory| directory.is_dir()) {
        Some(uppermost) => {
            let directory = disk_directory(to);
            let draft = copy(&uppermost, &directory)?;
            rename(&draft, &directory)
        }
        None => Ok(()),
    }
}

/// Removes a layer and its directory.
pub(super) fn discard(layer: &Path) -> Result<(), EngineError> {
    remove(&disk_directory(layer))?;
    fs::remove_file(layer).map_err(|e| EngineError::file("remove", layer, e))
}

fn rename(from: &Path, to: &Path) -> Result<(), EngineError> {
    fs::rename(from, to).map_err(|e| EngineError::file("move to", to, e))
}

/// Copies everything with its modes, owners, times, attributes and links, to be put in `place`: a name beside that comes back.
fn copy(source: &Path, place: &Path) -> Result<PathBuf, EngineError> {
    let draft = with(place, ".draft");
    // Of somebody who died.
    remove(&draft)?;
    let failed = |source| EngineError::file("copy to", &draft, source);
    let mut cp = Command::new("cp");
    cp.args(["--archive", "--no-target-directory", "--"]).arg(source).arg(&draft).stdin(Stdio::null());
    let copied = cp.output().map_err(failed)?;
    if copied.status.success() {
        return Ok(draft);
    }
    let words = String::from_utf8_lossy(&copied.stderr).into_owned();
    remove(&draft)?;
    Err(failed(io::Error::other(words)))
}

fn remove(directory: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::file("remove", directory, error))
        }
        _ => Ok(()),
    }
}
