//! Which files of the seed have several names. The seed does not change, so they are looked for once, when the first of
//! them was written to, and remembered in the state directory.

use std::io::{self, Read, Write};

use prost::Message;
use pyro_tree::attributes::FileKind;
use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;

use super::disk;
use super::layers::{LayerError, Layers, joined, listed};

const REMEMBERED: &str = "aliases";
const BEING_WRITTEN: &str = "aliases.new";

/// What is remembered.
#[derive(Clone, PartialEq, Eq, Message)]
struct Aliases {
    /// Paths in the seed.
    #[prost(bytes = "vec", repeated, tag = "1")]
    paths: Vec<Vec<u8>>,
}

/// Every name in the seed of files that have more than one.
///
/// # Errors
/// When the seed cannot be read. Where the state cannot be written, the next one looks again.
pub(super) fn of_seed(layers: &Layers, state: &Root) -> Result<Vec<RelativePath>, LayerError> {
    if let Some(aliases) = remembered(state) {
        return Ok(aliases);
    }
    let aliases = search(layers)?;
    let _forgotten = remember(state, &aliases);
    Ok(aliases)
}

fn search(layers: &Layers) -> Result<Vec<RelativePath>, LayerError> {
    let mut aliases = Vec::new();
    let mut pending = vec![RelativePath::root()];
    while let Some(path) = pending.pop() {
        let Some(directory) = layers.seed_directory(&path)? else { continue };
        for name in listed(&directory)? {
            let Some(metadata) = directory.find(&name)? else { continue };
            // What has a longer path than any can be is nothing that anybody compares.
            let Ok(path) = joined(&path, &name) else { continue };
            if metadata.kind == FileKind::Directory {
                pending.push(path);
            } else if metadata.links > 1 {
                aliases.push(path);
            }
        }
    }
    Ok(aliases)
}

fn remembered(state: &Root) -> Option<Vec<RelativePath>> {
    let mut bytes = Vec::new();
    state.read(&RelativePath::new(REMEMBERED).ok()?).ok()?.read_to_end(&mut bytes).ok()?;
    let aliases = Aliases::decode(bytes.as_slice()).ok()?;
    aliases.paths.into_iter().map(|path| RelativePath::new(path).ok()).collect()
}

fn remember(state: &Root, aliases: &[RelativePath]) -> io::Result<()> {
    // Another worker must not take what is half written for all there is.
    let _lock = disk::lock(state).map_err(io::Error::other)?;
    let path = |name| RelativePath::new(name).map_err(io::Error::other);
    let (new, remembered) = (path(BEING_WRITTEN)?, path(REMEMBERED)?);
    let aliases = Aliases { paths: aliases.iter().map(|path| path.as_bytes().to_vec()).collect() };
    state.remove_tree(&new).map_err(io::Error::other)?;
    let mut file = state.create(&new, 0o600).map_err(io::Error::other)?;
    file.write_all(&aliases.encode_to_vec())?;
    file.sync_all()?;
    state.rename(&new, &remembered).map_err(io::Error::other)
}
