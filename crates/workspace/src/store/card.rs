//! Cards: the record of each workspace once more, as a file beside its disk, from which the index can be made again.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::StoreError;
use crate::{
    error::chain,
    layout::Layout,
    workspaces::{RECORD_VERSION, WorkspaceId, WorkspaceRecord},
};

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    record: &'a WorkspaceRecord,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Read {
    record: WorkspaceRecord,
}

/// The text of a record, as it is kept here and in the database.
pub(super) fn encode(record: &WorkspaceRecord) -> Result<String, StoreError> {
    let text = serde_json::to_string(&Written { version: RECORD_VERSION, record });
    text.map_err(|source| unreadable(record.id.as_str(), source))
}

/// The other way. Another version than ours is refused, never guessed at.
pub(super) fn decode(text: &str, of: &str) -> Result<WorkspaceRecord, StoreError> {
    let Version { version } = serde_json::from_str(text).map_err(|source| unreadable(of, source))?;
    if version > RECORD_VERSION {
        let reason = format!("it has version {version}, this release knows {RECORD_VERSION}");
        return Err(unreadable(of, serde::de::Error::custom(reason)));
    }
    let Read { record } = serde_json::from_str(text).map_err(|source| unreadable(of, source))?;
    Ok(record)
}

fn unreadable(id: &str, source: serde_json::Error) -> StoreError {
    StoreError::Record { object: format!("workspace `{id}`"), source }
}

/// Whether the card tells what the row does; activity is not written to cards.
pub(super) fn same(card: &WorkspaceRecord, row: &WorkspaceRecord) -> bool {
    WorkspaceRecord { last_activity_at: row.last_activity_at, ..card.clone() } == *row
}

fn path(layout: &Layout, id: &WorkspaceId) -> PathBuf {
    layout.workspace(id).join("workspace.json")
}

/// Writes the card of a workspace, whose directory is made if absent: whole or not at all.
pub(super) fn write(layout: &Layout, record: &WorkspaceRecord) -> Result<(), StoreError> {
    let path = path(layout, &record.id);
    let text = encode(record)?;
    let written = (|| {
        let directory = layout.workspace(&record.id);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let aside = directory.join(".workspace.json");
        let mut file = new_file(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &path)
    })();
    written.map_err(|source| StoreError::File { operation: "write the card", path, source })
}

/// Cards that are written at once.
const SIDE_BY_SIDE: usize = 16;

/// The same for some of them, each by itself, side by side: making them durable is waiting for the disk.
pub(super) fn write_all(layout: &Layout, records: &[WorkspaceRecord]) -> Result<(), StoreError> {
    if let [record] = records {
        return write(layout, record);
    }
    records.chunks(SIDE_BY_SIDE).try_for_each(|records| {
        thread::scope(|scope| {
            let writing: Vec<_> =
                records.iter().map(|record| scope.spawn(|| write(layout, record))).collect();
            writing.into_iter().try_for_each(|writing| {
                writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    })
}

fn new_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

/// The card of a workspace, none if it has none.
pub(super) fn read(layout: &Layout, id: &WorkspaceId) -> Result<Option<WorkspaceRecord>, StoreError> {
    let path = path(layout, id);
    match fs::read_to_string(&path) {
        Ok(text) => decode(&text, id.as_str()).map(Some),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::File { operation: "read the card", path, source }),
    }
}

/// Every workspace that has a card, whether or not it can be read.
pub(super) fn ids(layout: &Layout) -> Result<Vec<WorkspaceId>, StoreError> {
    let directory = layout.workspaces();
    let failed =
        |source| StoreError::File { operation: "look for cards in", path: directory.clone(), source };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<WorkspaceId>().ok()) else { continue };
        if fs::symlink_metadata(path(layout, &id)).is_ok() {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Every card there is. One that cannot be read, or lies in another workspace's directory, is left out and logged.
pub(super) fn all(layout: &Layout) -> Result<Vec<WorkspaceRecord>, StoreError> {
    let mut records = Vec::new();
    for id in ids(layout)? {
        match read(layout, &id) {
            Ok(Some(record)) if record.id == id => records.push(record),
            Ok(Some(record)) => {
                warn!(directory = %id, card = %record.id, "left out: this is another workspace's card");
            }
            Ok(None) => {}
            Err(error) => warn!(workspace = %id, error = %chain(&error), "left out: its card is unreadable"),
        }
    }
    Ok(records)
}
