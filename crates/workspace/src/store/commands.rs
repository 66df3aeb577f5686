//! Records of commands.

use std::{collections::BTreeMap, time::SystemTime};

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Durability, Store, StoreError, to_ns};
use crate::{
    commands::{CommandCounts, CommandRecord},
    error::Error,
    workspaces::WorkspaceId,
};

/// What became of an attempt to add a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// It is new and has its sequence.
    New(CommandRecord),
    /// A command with its idempotency key was there before.
    Earlier(CommandRecord),
}

/// Which commands of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandQuery {
    /// Only those that ended otherwise than with exit code 0.
    pub failed_only: bool,
    /// From the newest to the oldest, instead of the other way.
    pub newest_first: bool,
    /// Only those behind this sequence, in the direction of the listing.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: u32,
}

/// One page of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandPage {
    /// In the order asked for.
    pub commands: Vec<CommandRecord>,
    /// The query's `after` for the next page, if there is one.
    pub next: Option<u64>,
}

/// What became of commands since a moment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CommandsSince {
    /// The newest sequence of the workspace; 0 if it has no command.
    pub newest: u64,
    /// Commands that began or ended since.
    pub counts: CommandCounts,
    /// The newest of them that failed, newest first.
    pub failures: Vec<CommandRecord>,
}

/// Of the commands that began before a moment, so many are looked at for having ended since.
const LOOKED_BACK: u64 = 1000;

impl Store {
    /// What became of commands with a greater sequence than `after`, and of those before that ended after `at`. Looks at a
    /// bounded number of those before.
    pub(crate) async fn commands_since(
        &self,
        workspace: &WorkspaceId,
        after: u64,
        at: SystemTime,
        most_failures: u32,
    ) -> Result<CommandsSince, Error> {
        let workspace = workspace.clone();
        self.transact("sum up commands", Durability::Process, move |transaction| {
            since(transaction, &workspace, after, at, most_failures)
        })
        .await
    }

    /// Adds a command under the next sequence of its workspace, which is set in the record returned; unless a command
    /// with its idempotency key is there.
    pub async fn insert_command(
        &self,
        workspace: &WorkspaceId,
        command: CommandRecord,
    ) -> Result<Inserted, Error> {
        let workspace = workspace.clone();
        self.transact("add a command", Durability::Power, move |transaction| {
            insert_next(transaction, &workspace, command)
        })
        .await
    }

    /// Adds a command under the sequence that it has, if there is none; whether there was none. Later ones count on
    /// from there.
    pub(crate) async fn insert_found_command(
        &self,
        workspace: &WorkspaceId,
        command: &CommandRecord,
    ) -> Result<bool, Error> {
        let (workspace, command) = (workspace.clone(), command.clone());
        self.transact("add a found command", Durability::Process, move |transaction| {
            if load(transaction, &workspace, command.sequence)?.is_some() {
                return Ok(false);
            }
            insert_found(transaction, &workspace, &command).map(|()| true)
        })
        .await
    }

    /// The sequence of the next command.
    pub(crate) async fn next_sequence(&self, workspace: &WorkspaceId) -> Result<u64, Error> {
        let workspace = workspace.clone();
        self.transact("look at the numbers of commands", Durability::Process, move |transaction| {
            transaction
                .prepare_cached("SELECT next_sequence FROM workspaces WHERE id = ?1")
                .and_then(|mut statement| {
                    statement.query_row([workspace.as_str()], |row| unsigned(row, 0)).optional()
                })
                .map_err(StoreError::database("look at the numbers of commands"))?
                .ok_or_else(|| StoreError::NoWorkspace { id: workspace.to_string() })
        })
        .await
    }

    /// Has later commands count on from this sequence, or from where they are. Durable with the record of the workspace, which
    /// whoever goes on from a snapshot writes next.
    pub(crate) async fn number_from(&self, workspace: &WorkspaceId, sequence: u64) -> Result<(), Error> {
        let workspace = workspace.clone();
        self.transact("number commands", Durability::Process, move |transaction| {
            number_from(transaction, &workspace, sequence)
        })
        .await
    }

    /// Replaces the record of a command.
    pub async fn update_command(
        &self,
        workspace: &WorkspaceId,
        command: &CommandRecord,
        durability: Durability,
    ) -> Result<(), Error> {
        let (workspace, command) = (workspace.clone(), command.clone());
        self.transact("change a command", durability, move |transaction| {
            let text = encode(&command)?;
            transaction
                .prepare_cached(
                    "UPDATE commands SET active = ?3, failed = ?4, kept_bytes = ?5, detached = ?6, record = ?7
                     WHERE workspace = ?1 AND sequence = ?2",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        workspace.as_str(),
                        to_key(command.sequence),
                        command.state.is_active(),
                        command.state.is_failure(),
                        to_key(command.kept_bytes()),
                        command.detached,
                        text,
                    ])
                })
                .map_err(StoreError::database("change a command"))
                .map(drop)
        })
        .await
    }

    /// One command.
    pub async fn command(
        &self,
        workspace: &WorkspaceId,
        sequence: u64,
    ) -> Result<Option<CommandRecord>, Error> {
        let workspace = workspace.clone();
        self.transact("read a command", Durability::Process, move |transaction| {
            load(transaction, &workspace, sequence)
        })
        .await
    }

    /// The command with that idempotency key.
    pub async fn command_by_key(
        &self,
        workspace: &WorkspaceId,
        key: &str,
    ) -> Result<Option<CommandRecord>, Error> {
        let (workspace, key) = (workspace.clone(), key.to_owned());
        self.transact("read a command", Durability::Process, move |transaction| {
            by_key(transaction, &workspace, &key)
        })
        .await
    }

    /// A page of a workspace's history.
    pub async fn commands(&self, workspace: &WorkspaceId, query: CommandQuery) -> Result<CommandPage, Error> {
        let workspace = workspace.clone();
        self.transact("list commands", Durability::Process, move |transaction| {
            page(transaction, &workspace, query)
        })
        .await
    }

    /// Commands that have not ended, oldest first.
    pub async fn active_commands(&self, workspace: &WorkspaceId) -> Result<Vec<CommandRecord>, Error> {
        let workspace = workspace.clone();
        self.transact("list running commands", Durability::Process, move |transaction| {
            let sql = "SELECT sequence, record FROM commands INDEXED BY active_commands
                 WHERE workspace = ?1 AND active = 1 ORDER BY sequence";
            rows(transaction, sql, params![workspace.as_str()])
        })
        .await
    }

    /// The newest commands that have ended and for which nobody waited, newest first.
    pub(crate) async fn detached_commands(
        &self,
        workspace: &WorkspaceId,
        limit: u32,
    ) -> Result<Vec<CommandRecord>, Error> {
        let workspace = workspace.clone();
        self.transact("list jobs", Durability::Process, move |transaction| {
            let sql = "SELECT sequence, record FROM commands
                       WHERE workspace = ?1 AND active = 0 AND detached = 1
                       ORDER BY sequence DESC LIMIT ?2";
            rows(transaction, sql, params![workspace.as_str(), limit])
        })
        .await
    }

    /// The newest command that has ended.
    pub(crate) async fn last_ended_command(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Option<CommandRecord>, Error> {
        let workspace = workspace.clone();
        self.transact("read a command", Durability::Process, move |transaction| {
            let sql = "SELECT sequence, record FROM commands WHERE workspace = ?1 AND active = 0
                       ORDER BY sequence DESC LIMIT 1";
            Ok(rows(transaction, sql, params![workspace.as_str()])?.pop())
        })
        .await
    }

    /// How many commands a workspace has.
    pub async fn command_counts(&self, workspace: &WorkspaceId) -> Result<CommandCounts, Error> {
        let workspace = workspace.clone();
        self.transact("count commands", Durability::Process, move |transaction| {
            transaction
                .prepare_cached("SELECT commands, active, failed FROM totals WHERE workspace = ?1")
                .and_then(|mut statement| {
                    statement.query_row([workspace.as_str()], |row| counts(row, 0)).optional()
                })
                .map(Option::unwrap_or_default)
                .map_err(StoreError::database("count commands"))
        })
        .await
    }

    /// How many commands each workspace has; one that never had any is left out.
    pub async fn all_command_counts(&self) -> Result<BTreeMap<WorkspaceId, CommandCounts>, Error> {
        self.transact("count commands", Durability::Process, |transaction| {
            let failed = StoreError::database("count commands");
            let mut statement = transaction
                .prepare_cached("SELECT workspace, commands, active, failed FROM totals")
                .map_err(&failed)?;
            let rows = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, counts(row, 1)?)))
                .map_err(&failed)?;
            let mut all = BTreeMap::new();
            for row in rows {
                let (id, counts) = row.map_err(&failed)?;
                all.extend(id.parse().ok().map(|id| (id, counts)));
            }
            Ok(all)
        })
        .await
    }

    /// Ended commands whose outputs must go, oldest first, so that what is kept of all ended ones is at most
    /// `kept_bytes`.
    pub(crate) async fn commands_over_quota(
        &self,
        workspace: &WorkspaceId,
        kept_bytes: u64,
    ) -> Result<Vec<CommandRecord>, Error> {
        let workspace = workspace.clone();
        self.transact("look for outputs to remove", Durability::Process, move |transaction| {
            over_quota(transaction, &workspace, kept_bytes)
        })
        .await
    }

    /// Forgets the commands of a workspace that have ended, and returns them; their outputs are the caller's. Sequences are
    /// not used again.
    pub async fn clear_commands(&self, workspace: &WorkspaceId) -> Result<Vec<CommandRecord>, Error> {
        let workspace = workspace.clone();
        self.transact("clear a history", Durability::Power, move |transaction| {
            let sql =
                "SELECT sequence, record FROM commands WHERE workspace = ?1 AND active = 0 ORDER BY sequence";
            let ended = rows(transaction, sql, params![workspace.as_str()])?;
            transaction
                .execute("DELETE FROM commands WHERE workspace = ?1 AND active = 0", [workspace.as_str()])
                .map_err(StoreError::database("clear a history"))?;
            Ok(ended)
        })
        .await
    }
}

fn insert_next(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    command: CommandRecord,
) -> Result<Inserted, StoreError> {
    if let Some(key) = &command.idempotency_key
        && let Some(earlier) = by_key(transaction, workspace, key)?
    {
        return Ok(Inserted::Earlier(earlier));
    }
    let next: Option<u64> = transaction
        .prepare_cached(
            "UPDATE workspaces SET next_sequence = next_sequence + 1 WHERE id = ?1 RETURNING next_sequence - 1",
        )
        .and_then(|mut statement| {
            statement.query_row([workspace.as_str()], |row| unsigned(row, 0)).optional()
        })
        .map_err(StoreError::database("number a command"))?;
    let sequence = next.ok_or_else(|| StoreError::NoWorkspace { id: workspace.to_string() })?;
    let command = CommandRecord { sequence, ..command };
    insert(transaction, workspace, &command)?;
    Ok(Inserted::New(command))
}

/// Adds a command whose record was lost.
pub(super) fn insert_found(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    command: &CommandRecord,
) -> Result<(), StoreError> {
    insert(transaction, workspace, command)?;
    number_from(transaction, workspace, command.sequence.saturating_add(1))
}

fn number_from(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    sequence: u64,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "UPDATE workspaces SET next_sequence = max(next_sequence, ?2) WHERE id = ?1",
            params![workspace.as_str(), to_key(sequence)],
        )
        .map_err(StoreError::database("number commands"))
        .map(drop)
}

fn insert(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    command: &CommandRecord,
) -> Result<(), StoreError> {
    let text = encode(command)?;
    transaction
        .prepare_cached(
            "INSERT INTO commands
             (workspace, sequence, idempotency_key, active, failed, kept_bytes, detached, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                workspace.as_str(),
                to_key(command.sequence),
                command.idempotency_key,
                command.state.is_active(),
                command.state.is_failure(),
                to_key(command.kept_bytes()),
                command.detached,
                text,
            ])
        })
        .map_err(StoreError::database("add a command"))
        .map(drop)
}

fn load(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    sequence: u64,
) -> Result<Option<CommandRecord>, StoreError> {
    let sql = "SELECT sequence, record FROM commands WHERE workspace = ?1 AND sequence = ?2";
    Ok(rows(transaction, sql, params![workspace.as_str(), to_key(sequence)])?.pop())
}

fn by_key(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    key: &str,
) -> Result<Option<CommandRecord>, StoreError> {
    let sql = "SELECT sequence, record FROM commands WHERE workspace = ?1 AND idempotency_key = ?2";
    Ok(rows(transaction, sql, params![workspace.as_str(), key])?.pop())
}

fn page(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    query: CommandQuery,
) -> Result<CommandPage, StoreError> {
    let (behind, order) = if query.newest_first { ("<", "DESC") } else { (">", "ASC") };
    // Spelt out as the index over failures has it.
    let failed = if query.failed_only { "AND failed = 1" } else { "" };
    let sql = format!(
        "SELECT sequence, record FROM commands WHERE workspace = ?1 AND sequence {behind} ?2 {failed}
         ORDER BY sequence {order} LIMIT ?3"
    );
    let start = if query.newest_first { i64::MAX } else { 0 };
    let after = query.after.map_or(start, to_key);
    // One more tells whether there is a next page.
    let limit = i64::from(query.limit) + 1;
    let mut commands = rows(transaction, &sql, params![workspace.as_str(), after, limit])?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = commands.len() > limit;
    commands.truncate(limit);
    let next = commands.last().filter(|_| more).map(|command| command.sequence);
    Ok(CommandPage { commands, next })
}

/// See [`Store::commands_over_quota`]. Looks at those that it finds and at no other.
fn over_quota(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    quota_bytes: u64,
) -> Result<Vec<CommandRecord>, StoreError> {
    let failed = StoreError::database("look for outputs to remove");
    let kept: Option<i64> = transaction
        .prepare_cached("SELECT ended_kept_bytes FROM totals WHERE workspace = ?1")
        .and_then(|mut statement| statement.query_row([workspace.as_str()], |row| row.get(0)).optional())
        .map_err(&failed)?;
    let mut surplus = kept.unwrap_or(0).saturating_sub(to_key(quota_bytes));
    let mut found = Vec::new();
    if surplus <= 0 {
        return Ok(found);
    }
    let mut statement = transaction
        .prepare_cached(
            "SELECT sequence, record, kept_bytes FROM commands
             WHERE workspace = ?1 AND active = 0 AND kept_bytes > 0 ORDER BY sequence",
        )
        .map_err(&failed)?;
    let mut oldest = statement.query([workspace.as_str()]).map_err(&failed)?;
    while surplus > 0
        && let Some(row) = oldest.next().map_err(&failed)?
    {
        let kept: i64 = row.get(2).map_err(&failed)?;
        surplus = surplus.saturating_sub(kept);
        found.push(decode(&raw(row).map_err(&failed)?)?);
    }
    Ok(found)
}

fn counts(row: &Row<'_>, from: usize) -> rusqlite::Result<CommandCounts> {
    Ok(CommandCounts {
        total: unsigned(row, from)?,
        running: unsigned(row, from + 1)?,
        failed: unsigned(row, from + 2)?,
    })
}

fn since(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    after: u64,
    at: SystemTime,
    most_failures: u32,
) -> Result<CommandsSince, StoreError> {
    let failed = StoreError::database("sum up commands");
    let newest: u64 = transaction
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM commands WHERE workspace = ?1")
        .and_then(|mut statement| statement.query_row([workspace.as_str()], |row| unsigned(row, 0)))
        .map_err(&failed)?;
    let lowest = after.saturating_sub(LOOKED_BACK);
    let of_that_time =
        "FROM commands WHERE workspace = ?1 AND sequence > ?2 AND (sequence > ?3 OR (active = 0
        AND json_extract(record, '$.ended_at.secs_since_epoch') * 1000
            + json_extract(record, '$.ended_at.nanos_since_epoch') / 1000000 > ?4))";
    let (lowest, after) = (to_key(lowest), to_key(after));
    let at_ms = to_ns(at) / 1_000_000;
    let sql = format!("SELECT count(*), coalesce(sum(active), 0), coalesce(sum(failed), 0) {of_that_time}");
    let counts = transaction
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            statement.query_row(params![workspace.as_str(), lowest, after, at_ms], |row| counts(row, 0))
        })
        .map_err(&failed)?;
    let sql =
        format!("SELECT sequence, record {of_that_time} AND failed = 1 ORDER BY sequence DESC LIMIT ?5");
    let failures = rows(transaction, &sql, params![workspace.as_str(), lowest, after, at_ms, most_failures])?;
    Ok(CommandsSince { newest, counts, failures })
}

/// The commands that a query of `sequence, record` finds.
fn rows(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<CommandRecord>, StoreError> {
    let failed = StoreError::database("read commands");
    let mut statement = transaction.prepare_cached(sql).map_err(&failed)?;
    let rows = statement.query_map(parameters, raw).map_err(&failed)?;
    rows.map(|row| decode(&row.map_err(&failed)?)).collect()
}

/// Sequence and text, the first two columns.
fn raw(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn decode((sequence, text): &(i64, String)) -> Result<CommandRecord, StoreError> {
    serde_json::from_str(text)
        .map_err(|source| StoreError::Record { object: format!("command {sequence}"), source })
}

fn encode(command: &CommandRecord) -> Result<String, StoreError> {
    serde_json::to_string(command).map_err(|source| StoreError::Record { object: command.job_id(), source })
}

/// Numbers as the database keeps them. None of ours comes near the end of its range.
fn to_key(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or_default())
}
