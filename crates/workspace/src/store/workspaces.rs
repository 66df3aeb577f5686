//! Records of workspaces.

use std::{collections::HashSet, time::SystemTime};

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Durability, Store, StoreError, calls, card, from_ns, to_ns};
use crate::{
    error::Error,
    workspaces::{WorkspaceId, WorkspaceRecord},
};

impl Store {
    /// Adds a workspace, with its card.
    pub async fn insert_workspace(&self, record: &WorkspaceRecord) -> Result<(), Error> {
        self.insert_workspaces(vec![record.clone()]).await
    }

    /// Adds workspaces, with their cards: all, or none.
    pub async fn insert_workspaces(&self, records: Vec<WorkspaceRecord>) -> Result<(), Error> {
        let layout = self.layout.clone();
        self.transact("add a workspace", Durability::Power, move |transaction| {
            records.iter().try_for_each(|record| insert(transaction, record))?;
            card::write_all(&layout, &records)
        })
        .await
    }

    /// Replaces the record of a workspace, and its card. The last activity never goes back by this.
    pub async fn update_workspace(&self, record: &WorkspaceRecord) -> Result<(), Error> {
        self.update_workspaces(vec![record.clone()]).await
    }

    /// The same for some of them: all, or none.
    pub async fn update_workspaces(&self, records: Vec<WorkspaceRecord>) -> Result<(), Error> {
        let layout = self.layout.clone();
        self.transact("change a workspace", Durability::Power, move |transaction| {
            records.iter().try_for_each(|record| update(transaction, record))?;
            card::write_all(&layout, &records)
        })
        .await
    }

    /// The same for what holds only as long as the host runs, as which machine is being started: a power failure leaves the
    /// record of before, which is right then. Killing this process loses nothing.
    pub async fn note_workspace(&self, record: &WorkspaceRecord) -> Result<(), Error> {
        let record = record.clone();
        self.transact("note what becomes of a workspace", Durability::Process, move |transaction| {
            update(transaction, &record)
        })
        .await
    }

    /// Writes down that a workspace was used. Not durable by itself: a power failure costs a few seconds of a time to
    /// live.
    pub async fn touch_workspace(&self, id: &WorkspaceId, at: SystemTime) -> Result<(), Error> {
        let id = id.clone();
        self.transact("write down activity", Durability::Process, move |transaction| {
            transaction
                .prepare_cached("UPDATE workspaces SET last_activity_at_ns = ?2 WHERE id = ?1")
                .and_then(|mut statement| statement.execute(params![id.as_str(), to_ns(at)]))
                .map_err(StoreError::database("write down activity"))
                .map(drop)
        })
        .await
    }

    /// Forgets a workspace and the history of its commands, if there is one. Its files are the caller's.
    pub async fn remove_workspace(&self, id: &WorkspaceId) -> Result<(), Error> {
        let id = id.clone();
        self.transact("remove a workspace", Durability::Power, move |transaction| {
            calls::settle(transaction, &id)?;
            transaction
                .execute("DELETE FROM workspaces WHERE id = ?1", [id.as_str()])
                .map(drop)
                .map_err(StoreError::database("remove a workspace"))
        })
        .await
    }

    /// The record of one workspace.
    pub async fn load_workspace(&self, id: &WorkspaceId) -> Result<Option<WorkspaceRecord>, Error> {
        let id = id.clone();
        self.transact("read a workspace", Durability::Process, move |transaction| {
            let found = transaction
                .prepare_cached("SELECT id, record, last_activity_at_ns FROM workspaces WHERE id = ?1")
                .and_then(|mut statement| statement.query_row([id.as_str()], raw).optional())
                .map_err(StoreError::database("read a workspace"))?;
            found.map(|raw| raw.decode()).transpose()
        })
        .await
    }

    /// Workspaces of which something is there and no record that can be read: a damaged one, or a newer release's. What
    /// they need is not known, so nothing of them may be taken for garbage.
    pub async fn unreadable_workspaces(&self) -> Result<HashSet<WorkspaceId>, Error> {
        let layout = self.layout.clone();
        self.transact("look for unreadable workspaces", Durability::Process, move |transaction| {
            let (readable, unreadable): (Vec<_>, Vec<_>) =
                every(transaction)?.into_iter().partition(|(_, record)| record.is_ok());
            let readable: HashSet<WorkspaceId> = readable.into_iter().map(|(id, _)| id).collect();
            let carded = card::ids(&layout)?.into_iter().filter(|id| !readable.contains(id));
            Ok(unreadable.into_iter().map(|(id, _)| id).chain(carded).collect())
        })
        .await
    }

    /// The records of all workspaces, by id. One that cannot be read is left out; opening the store has logged it.
    pub async fn load_workspaces(&self) -> Result<Vec<WorkspaceRecord>, Error> {
        self.transact("read the workspaces", Durability::Process, |transaction| {
            Ok(every(transaction)?.into_iter().filter_map(|(_, record)| record.ok()).collect())
        })
        .await
    }
}

/// A row as it is read.
struct Raw {
    id: String,
    record: String,
    last_activity_at_ns: i64,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw { id: row.get(0)?, record: row.get(1)?, last_activity_at_ns: row.get(2)? })
}

impl Raw {
    /// The record; its last activity is the column's, which changes oftener.
    fn decode(&self) -> Result<WorkspaceRecord, StoreError> {
        let record = card::decode(&self.record, &self.id)?;
        Ok(WorkspaceRecord { last_activity_at: from_ns(self.last_activity_at_ns), ..record })
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, record: &WorkspaceRecord) -> Result<(), StoreError> {
    let failed = StoreError::database("add a workspace");
    transaction
        .execute(
            "INSERT INTO workspaces (id, name, state, created_at_ns, last_activity_at_ns, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                record.id.as_str(),
                record.name,
                record.state.name(),
                to_ns(record.created_at),
                to_ns(record.last_activity_at),
                card::encode(record)?,
            ],
        )
        .map_err(failed)?;
    calls::insert(transaction, record)
}

pub(super) fn update(transaction: &Transaction<'_>, record: &WorkspaceRecord) -> Result<(), StoreError> {
    let failed = StoreError::database("change a workspace");
    let changed = transaction
        .execute(
            "UPDATE workspaces SET name = ?2, state = ?3, created_at_ns = ?4,
             last_activity_at_ns = max(last_activity_at_ns, ?5), record = ?6 WHERE id = ?1",
            params![
                record.id.as_str(),
                record.name,
                record.state.name(),
                to_ns(record.created_at),
                to_ns(record.last_activity_at),
                card::encode(record)?,
            ],
        )
        .map_err(failed)?;
    if changed == 0 {
        return Err(StoreError::NoWorkspace { id: record.id.to_string() });
    }
    Ok(())
}

/// A row as far as it can be read.
type Found = (WorkspaceId, Result<WorkspaceRecord, StoreError>);

/// Every row, by id.
pub(super) fn every(transaction: &Transaction<'_>) -> Result<Vec<Found>, StoreError> {
    let failed = StoreError::database("read the workspaces");
    let mut statement = transaction
        .prepare_cached("SELECT id, record, last_activity_at_ns FROM workspaces ORDER BY id")
        .map_err(&failed)?;
    let rows = statement.query_map([], raw).map_err(&failed)?;
    let mut found = Vec::new();
    for row in rows {
        let row = row.map_err(&failed)?;
        let id = row.id.parse().map_err(|_| StoreError::Damaged {
            finding: format!("{:?} is not the id of a workspace", row.id),
        })?;
        found.push((id, row.decode()));
    }
    Ok(found)
}
