//! All snapshots of one workspace, as files in its directory: one record for each, and what they share.
//!
//! ```text
//! <workspace>/snapshots/<id>.json      a record, written whole and last: without it the rest is garbage
//! <workspace>/memory/base              the template's memory, a hard link
//! <workspace>/memory/<layer>.delta     what a memory became, sealed
//! <workspace>/memory/<layer>.digests   which pages that has said, sealed; without it the next snapshot is larger
//! <workspace>/memory/<layer>.state     the state of the devices, sealed
//! <workspace>/memory/<layer>.plain…    the same as the engine wrote them, for a moment
//! ```

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::record::{MemoryStage, SavedMemory, SnapshotKind, SnapshotRecord};
use crate::{
    draft::Draft,
    error::{Error, chain},
    layout::Layout,
    workspaces::{
        WorkspaceId,
        id::{LayerId, SnapshotId},
    },
};

/// Version of the record's format; a newer one is left alone, never guessed at.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    snapshot: &'a SnapshotRecord,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Read {
    snapshot: SnapshotRecord,
}

/// The snapshots of a workspace, oldest first.
#[derive(Clone, Debug)]
pub(in super::super) struct Shelf {
    files: SnapshotFiles,
    records: Vec<Arc<SnapshotRecord>>,
    /// A record cannot be read, so nobody knows what it needs: nothing is swept.
    has_unreadable: bool,
}

/// Where the files of a workspace's snapshots are.
#[derive(Clone, Debug)]
pub(in super::super) struct SnapshotFiles {
    workspace: PathBuf,
}

impl SnapshotFiles {
    pub(in super::super) fn of(layout: &Layout, workspace: &WorkspaceId) -> Self {
        Self { workspace: layout.workspace(workspace) }
    }

    fn records(&self) -> PathBuf {
        self.workspace.join("snapshots")
    }

    fn record(&self, id: &SnapshotId) -> PathBuf {
        self.records().join(format!("{id}.json"))
    }

    pub(in super::super) fn memory(&self) -> PathBuf {
        self.workspace.join("memory")
    }

    /// The memory that the workspace's first machine began with.
    pub(in super::super) fn base(&self) -> PathBuf {
        self.memory().join(BASE)
    }

    pub(in super::super) fn delta(&self, id: &LayerId) -> PathBuf {
        self.memory().join(format!("{id}.delta"))
    }

    pub(super) fn digests(&self, id: &LayerId) -> PathBuf {
        self.memory().join(format!("{id}.digests"))
    }

    pub(in super::super) fn state(&self, id: &LayerId) -> PathBuf {
        self.memory().join(format!("{id}.state"))
    }

    pub(in super::super) fn plain_delta(&self, id: &LayerId) -> PathBuf {
        self.memory().join(format!("{id}.plain-delta"))
    }

    pub(in super::super) fn plain_state(&self, id: &LayerId) -> PathBuf {
        self.memory().join(format!("{id}.plain-state"))
    }

    /// Makes the directories, and keeps the memory that the workspace's machine is started from. Blocks.
    pub(in super::super) fn begin(&self, template_memory: Option<&Path>) -> Result<(), Error> {
        let make = |path: PathBuf| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        let made = make(self.records())
            .and_then(|()| make(self.memory()))
            .and_then(|()| template_memory.map_or(Ok(()), |memory| fs::hard_link(memory, self.base())));
        made.map_err(|source| self.failed("make room for snapshots in", source))
    }

    /// Writes a record: whole or not at all, and durable. Blocks.
    pub(in super::super) fn write(&self, snapshot: &SnapshotRecord) -> Result<(), Error> {
        let path = self.record(&snapshot.id);
        let written = || -> io::Result<()> {
            let text = serde_json::to_vec(&Written { version: VERSION, snapshot })?;
            let draft = Draft::begin(&path)?;
            draft.file().write_all(&text)?;
            // The files that it names come with it.
            File::open(self.memory())?.sync_all()?;
            draft.keep().map(drop)
        };
        written().map_err(|source| Error::Store {
            operation: "write the snapshot",
            path: path.clone(),
            source,
        })
    }

    /// Removes a record, after which what it alone needed is garbage. Blocks.
    pub(in super::super) fn remove(&self, id: &SnapshotId) -> Result<(), Error> {
        let path = self.record(id);
        let removed = fs::remove_file(&path).and_then(|()| File::open(self.records())?.sync_all());
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.map_err(|source| Error::Store { operation: "remove the snapshot", path, source })
            }
        }
    }

    /// Gives a relative the files of a snapshot, and the base. Blocks.
    pub(in super::super) fn share(&self, with: &Self, snapshot: &SnapshotRecord) -> Result<(), Error> {
        with.begin(None)?;
        let Some(memory) = &snapshot.memory else { return Ok(()) };
        debug_assert_eq!(memory.stage, MemoryStage::Sealed);
        let link =
            |path: fn(&Self, &LayerId) -> PathBuf, layer| fs::hard_link(path(self, layer), path(with, layer));
        let shared = || -> io::Result<()> {
            if memory.content.from_template {
                fs::hard_link(self.base(), with.base())?;
            }
            for layer in &memory.content.deltas {
                link(Self::delta, layer)?;
            }
            if let Some(own) = memory.content.deltas.last() {
                link(Self::state, own)?;
                match link(Self::digests, own) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    linked => linked?,
                }
            }
            Ok(())
        };
        shared().map_err(|source| with.failed("share a snapshot with", source))
    }

    /// Bytes that the files of memory take on the host; of files that it shares, its share. Blocks.
    pub(in super::super) fn used_bytes(&self) -> u64 {
        let entries = fs::read_dir(self.memory()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name() != BASE)
            .filter_map(|entry| entry.metadata().ok())
            .map(|about| about.blocks() * 512 / about.nlink().max(1))
            .sum()
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Store { operation, path: self.workspace.clone(), source }
    }
}

impl Shelf {
    /// Reads all records. One that cannot be read is left out and logged, and nothing that it may need is removed. Blocks.
    pub(in super::super) fn read(files: SnapshotFiles) -> Result<Self, Error> {
        let mut shelf = Self { files, records: Vec::new(), has_unreadable: false };
        let directory = shelf.files.records();
        let failed =
            |source| Error::Store { operation: "look for snapshots in", path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(shelf),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let is_record = path.extension().is_some_and(|extension| extension == "json")
                && path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
            if !is_record {
                continue;
            }
            match read_record(&path) {
                Ok(record) => shelf.records.push(Arc::new(record)),
                Err(error) => {
                    warn!(snapshot = %path.display(), error = %chain(&error), "left out: it cannot be read");
                    shelf.has_unreadable = true;
                }
            }
        }
        shelf.records.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(shelf)
    }

    pub(in super::super) fn files(&self) -> &SnapshotFiles {
        &self.files
    }

    /// All of them, oldest first.
    pub(in super::super) fn records(&self) -> &[Arc<SnapshotRecord>] {
        &self.records
    }

    /// The one of that name, or of that id.
    pub(in super::super) fn find(&self, reference: &str) -> Option<Arc<SnapshotRecord>> {
        find(&self.records, reference)
    }

    pub(in super::super) fn get(&self, id: &SnapshotId) -> Option<Arc<SnapshotRecord>> {
        self.records.iter().find(|record| record.id == *id).cloned()
    }

    /// A record was written: it is new, or takes its earlier self's place.
    pub(in super::super) fn put(&mut self, record: SnapshotRecord) -> Arc<SnapshotRecord> {
        let record = Arc::new(record);
        match self.records.iter_mut().find(|known| known.id == record.id) {
            Some(known) => *known = Arc::clone(&record),
            None => self.records.push(Arc::clone(&record)),
        }
        record
    }

    /// A record was removed.
    pub(in super::super) fn forget(&mut self, id: &SnapshotId) {
        self.records.retain(|record| record.id != *id);
    }

    /// Removes files of memory that no snapshot needs, nor the machine of now, whose memory is what `lived_in` names. Blocks.
    pub(in super::super) fn sweep_memory(&self, lived_in: &[LayerId]) -> io::Result<()> {
        if self.has_unreadable {
            return Ok(());
        }
        let memories = || self.records.iter().filter_map(|record| record.memory.as_ref());
        let needed: HashSet<&str> = memories()
            .flat_map(|memory| &memory.content.deltas)
            .chain(lived_in)
            .map(LayerId::as_str)
            .collect();
        let is_plain = |memory: &&SavedMemory| matches!(memory.stage, MemoryStage::Plain { .. });
        let plain: HashSet<&str> = memories()
            .filter(is_plain)
            .filter_map(|memory| memory.content.deltas.last())
            .map(LayerId::as_str)
            .collect();
        let entries = match fs::read_dir(self.files.memory()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some((stem, kind)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            // What the engine wrote is needed until it is sealed, and is not to lie there longer.
            let is_needed = needed.contains(stem) && (!kind.starts_with("plain-") || plain.contains(stem));
            if !is_needed {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether nothing may be swept, since a record cannot be read.
    pub(in super::super) fn has_unreadable(&self) -> bool {
        self.has_unreadable
    }

    /// How many people see.
    pub(in super::super) fn listed(&self) -> usize {
        self.records.iter().filter(|record| record.kind.is_listed()).count()
    }

    /// Those of a kind.
    pub(in super::super) fn of_kind(&self, kind: SnapshotKind) -> impl Iterator<Item = &SnapshotId> {
        self.records.iter().filter(move |record| record.kind == kind).map(|record| &record.id)
    }
}

/// The one of that name, or of that id, which people see.
pub(in super::super) fn find(
    records: &[Arc<SnapshotRecord>],
    reference: &str,
) -> Option<Arc<SnapshotRecord>> {
    let reference = reference.trim();
    let named = |record: &&Arc<SnapshotRecord>| record.name.as_deref() == Some(reference);
    let shown = || records.iter().filter(|record| record.kind.is_shown());
    shown().find(named).or_else(|| shown().find(|record| record.id.as_str() == reference)).cloned()
}

fn read_record(path: &Path) -> Result<SnapshotRecord, io::Error> {
    let text = fs::read(path)?;
    let Version { version } = serde_json::from_slice(&text)?;
    if version > VERSION {
        let reason = format!("it has version {version}, this release knows {VERSION}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let Read { snapshot } = serde_json::from_slice(&text)?;
    Ok(snapshot)
}

const BASE: &str = "base";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::SystemTime};

    use super::{
        super::record::{MemoryContent, MemoryStage, SavedMemory},
        *,
    };

    fn snapshot(number: u8, stage: MemoryStage) -> SnapshotRecord {
        let content = MemoryContent { from_template: false, deltas: vec![LayerId::from_bytes([number; 6])] };
        let memory = SavedMemory {
            fits: String::new(),
            engine: String::new(),
            content,
            stage,
            pages: 0,
            stored_bytes: 0,
        };
        SnapshotRecord {
            id: SnapshotId::from_bytes([number; 6]),
            name: Some(format!("s{number}")),
            kind: SnapshotKind::Named,
            parent: None,
            created_at: SystemTime::UNIX_EPOCH,
            comment: None,
            labels: BTreeMap::new(),
            disk: Vec::new(),
            disk_bytes: 0,
            memory: Some(memory),
            commands: Vec::new(),
            next_sequence: 1,
            paused: None,
            at_rest: true,
            steps: Vec::new(),
            before: Vec::new(),
        }
    }

    #[test]
    fn what_is_swept_is_needed_by_nothing_and_plain_memory_stays_no_longer_than_it_must() {
        let home = tempfile::tempdir().unwrap();
        let files = SnapshotFiles { workspace: home.path().to_owned() };
        files.begin(None).unwrap();
        let plain = MemoryStage::Plain { since: MemoryContent::default() };
        for record in [snapshot(1, MemoryStage::Sealed), snapshot(2, plain)] {
            files.write(&record).unwrap();
        }
        let layer = |number: u8| LayerId::from_bytes([number; 6]);
        let make = |path: PathBuf| fs::write(path, "x").unwrap();
        make(files.base());
        for number in 1..=4 {
            make(files.delta(&layer(number)));
            make(files.plain_delta(&layer(number)));
            make(files.plain_state(&layer(number)));
        }
        let shelf = Shelf::read(files.clone()).unwrap();
        assert_eq!(shelf.records().len(), 2);
        shelf.sweep_memory(&[layer(3)]).unwrap();
        let mut left: Vec<String> = fs::read_dir(files.memory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let name = |number: u8, kind: &str| format!("{}.{kind}", layer(number));
        assert_eq!(
            left,
            [
                name(1, "delta"),
                name(2, "delta"),
                name(2, "plain-delta"),
                name(2, "plain-state"),
                name(3, "delta"),
                "base".to_owned(),
            ]
        );
    }

    #[test]
    fn a_newer_record_is_left_alone_and_keeps_what_it_may_need() {
        let home = tempfile::tempdir().unwrap();
        let files = SnapshotFiles { workspace: home.path().to_owned() };
        files.begin(None).unwrap();
        let newer = files.record(&SnapshotId::from_bytes([9; 6]));
        fs::write(&newer, r#"{"version": 2, "snapshot": {}}"#).unwrap();
        fs::write(files.delta(&LayerId::from_bytes([9; 6])), "x").unwrap();
        let shelf = Shelf::read(files.clone()).unwrap();
        assert!(shelf.records().is_empty() && shelf.has_unreadable());
        shelf.sweep_memory(&[]).unwrap();
        assert!(files.delta(&LayerId::from_bytes([9; 6])).exists() && newer.exists());
    }
}
