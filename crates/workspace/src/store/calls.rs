//! Calls that had a key of their caller's: which machine each got, and what became of it. They outlive the machine.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Durability, Store, StoreError, card, to_ns};
use crate::{
    error::Error,
    workspaces::{KeptCommand, KnownCall, WorkspaceId, WorkspaceRecord},
};

/// Keys that are kept, the newest.
const MOST_KEYS: i64 = 100_000;
/// Keys of which outputs are kept, the newest.
const MOST_OUTPUTS: i64 = 1000;

impl Store {
    /// What is known of a key.
    pub(crate) async fn known_call(&self, key: &str) -> Result<Option<KnownCall>, Error> {
        let key = key.to_owned();
        self.transact("read a call", Durability::Process, move |transaction| known(transaction, &key)).await
    }

    /// Keeps the ends of both outputs of a command whose machine is about to go.
    pub(crate) async fn keep_outputs(
        &self,
        machine: &WorkspaceId,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    ) -> Result<(), Error> {
        let machine = machine.clone();
        self.transact("keep outputs", Durability::Process, move |transaction| {
            let sql = "UPDATE one_shot_calls SET stdout = ?2, stderr = ?3 WHERE machine = ?1";
            transaction
                .execute(sql, params![machine.as_str(), stdout, stderr])
                .map(drop)
                .map_err(StoreError::database("keep outputs"))
        })
        .await
    }
}

/// With the record of a machine, the key of the call that it is for.
pub(super) fn insert(transaction: &Transaction<'_>, record: &WorkspaceRecord) -> Result<(), StoreError> {
    let Some((key, call)) = record.call.as_ref().and_then(|call| Some((call.key.as_ref()?, call))) else {
        return Ok(());
    };
    let failed = StoreError::database("add a call");
    let sql =
        "INSERT OR REPLACE INTO one_shot_calls (key, digest, machine, made_at_ns) VALUES (?1, ?2, ?3, ?4)";
    transaction
        .execute(sql, params![key, call.digest, record.id.as_str(), to_ns(record.created_at)])
        .map_err(&failed)?;
    let newest = transaction.last_insert_rowid();
    // Both are kept or neither is.
    let sql = "UPDATE one_shot_calls INDEXED BY kept_call_outputs SET stdout = NULL, stderr = NULL
               WHERE stdout IS NOT NULL AND rowid <= ?1";
    transaction.execute(sql, [newest.saturating_sub(MOST_OUTPUTS)]).map_err(&failed)?;
    let sql = "DELETE FROM one_shot_calls WHERE rowid <= ?1 AND command IS NOT NULL";
    transaction.execute(sql, [newest.saturating_sub(MOST_KEYS)]).map(drop).map_err(&failed)
}

/// Before a machine goes: what became of the command that it was made for. If it was given none, nothing ever ran, and the
/// key is free again.
pub(super) fn settle(transaction: &Transaction<'_>, machine: &WorkspaceId) -> Result<(), StoreError> {
    let failed = StoreError::database("settle a call");
    let sql = "UPDATE one_shot_calls
               SET command = (SELECT record FROM commands WHERE workspace = ?1 ORDER BY sequence LIMIT 1),
                   workspace = (SELECT record FROM workspaces WHERE id = ?1)
               WHERE machine = ?1 AND command IS NULL";
    transaction.execute(sql, [machine.as_str()]).map_err(&failed)?;
    let sql = "DELETE FROM one_shot_calls WHERE machine = ?1 AND command IS NULL";
    transaction.execute(sql, [machine.as_str()]).map(drop).map_err(&failed)
}

fn known(transaction: &Transaction<'_>, key: &str) -> Result<Option<KnownCall>, StoreError> {
    type Row = (String, String, Option<String>, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
    let sql = "SELECT digest, machine, workspace, command, stdout, stderr FROM one_shot_calls WHERE key = ?1";
    let row = transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Row> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            };
            statement.query_row([key], read).optional()
        })
        .map_err(StoreError::database("read a call"))?;
    let Some((digest, machine, workspace, command, stdout, stderr)) = row else { return Ok(None) };
    let kept = match (workspace, command) {
        (Some(workspace), Some(command)) => Some(KeptCommand {
            machine: card::decode(&workspace, &machine)?,
            command: serde_json::from_str(&command).map_err(|source| StoreError::Record {
                object: format!("the command of machine `{machine}`"),
                source,
            })?,
            stdout,
            stderr,
        }),
        _ => None,
    };
    Ok(Some(KnownCall { digest, machine, kept }))
}
