//! Opening the database: versions, damage, and making it again from the cards.

use std::{collections::HashSet, fs, io, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tracing::{info, warn};

use super::{StoreError, card, workspaces};
use crate::{commands, error::chain, layout::Layout};

/// One step for each version, from version 0, the empty file, on. Never changed once released; add another one.
///
/// What is asked with every command must not cost more as the history grows: each such question has an index of its own,
/// and what is counted or summed is kept in `totals`, by triggers, so that no writer can forget it.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE workspaces (
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT,
        state TEXT NOT NULL,
        created_at_ns INTEGER NOT NULL,
        last_activity_at_ns INTEGER NOT NULL,
        next_sequence INTEGER NOT NULL DEFAULT 1,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE commands (
        workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
        sequence INTEGER NOT NULL,
        idempotency_key TEXT,
        active INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        kept_bytes INTEGER NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (workspace, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX commands_by_key ON commands (workspace, idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX active_commands ON commands (workspace, sequence) WHERE active = 1;
    CREATE INDEX kept_outputs ON commands (workspace, sequence) WHERE kept_bytes > 0;
", "
    ALTER TABLE commands ADD COLUMN detached INTEGER NOT NULL DEFAULT 0;
    UPDATE commands SET detached = 1
    WHERE CASE WHEN json_valid(record) THEN json_extract(record, '$.detached') ELSE 0 END;
    CREATE INDEX failed_commands ON commands (workspace, sequence) WHERE failed = 1;
    CREATE INDEX ended_jobs ON commands (workspace, sequence) WHERE detached = 1 AND active = 0;
    DROP INDEX kept_outputs;
    CREATE INDEX ended_outputs ON commands (workspace, sequence) WHERE active = 0 AND kept_bytes > 0;

    CREATE TABLE totals (
        workspace TEXT PRIMARY KEY NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
        commands INTEGER NOT NULL,
        active INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        ended_kept_bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO totals SELECT workspace, count(*), sum(active), sum(failed), sum(kept_bytes * (1 - active))
    FROM commands GROUP BY workspace;
    CREATE TRIGGER command_added AFTER INSERT ON commands BEGIN
        INSERT INTO totals
        VALUES (new.workspace, 1, new.active, new.failed, new.kept_bytes * (1 - new.active))
        ON CONFLICT (workspace) DO UPDATE SET
            commands = commands + 1,
            active = active + excluded.active,
            failed = failed + excluded.failed,
            ended_kept_bytes = ended_kept_bytes + excluded.ended_kept_bytes;
    END;
    CREATE TRIGGER command_changed AFTER UPDATE OF active, failed, kept_bytes ON commands
    WHEN (old.active, old.failed, old.kept_bytes) IS NOT (new.active, new.failed, new.kept_bytes) BEGIN
        UPDATE totals SET
            active = active + new.active - old.active,
            failed = failed + new.failed - old.failed,
            ended_kept_bytes = ended_kept_bytes
                + new.kept_bytes * (1 - new.active) - old.kept_bytes * (1 - old.active)
        WHERE workspace = new.workspace;
    END;
    CREATE TRIGGER command_removed AFTER DELETE ON commands BEGIN
        UPDATE totals SET
            commands = commands - 1,
            active = active - old.active,
            failed = failed - old.failed,
            ended_kept_bytes = ended_kept_bytes - old.kept_bytes * (1 - old.active)
        WHERE workspace = old.workspace;
    END;
", "
    CREATE TABLE one_shot_calls (
        key TEXT PRIMARY KEY NOT NULL,
        digest TEXT NOT NULL,
        machine TEXT NOT NULL,
        made_at_ns INTEGER NOT NULL,
        workspace TEXT,
        command TEXT,
        stdout BLOB,
        stderr BLOB
    ) STRICT;
    CREATE INDEX one_shot_calls_by_machine ON one_shot_calls (machine);
    CREATE INDEX kept_call_outputs ON one_shot_calls (machine) WHERE stdout IS NOT NULL;
"];

/// How long another process may hold the database, such as somebody's look into it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the store's database, whatever state it is in, unless it is a newer release's.
pub(super) fn open(layout: &Layout) -> Result<Connection, StoreError> {
    let path = layout.store();
    let connection = match open_sound(&path, layout) {
        Err(error) if error.is_damage() => {
            let aside = move_aside(&path)?;
            warn!(error = %chain(&error), kept = %aside.display(), "the store is damaged and is made again from its cards");
            open_sound(&path, layout)?
        }
        opened => opened?,
    };
    Ok(connection)
}

fn open_sound(path: &Path, layout: &Layout) -> Result<Connection, StoreError> {
    let failed = StoreError::database("open the database");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    refuse_newer(&connection, path)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(&failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(&failed)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(&failed)?;
    check(&connection)?;
    migrate(&mut connection, path)?;
    compare_with_cards(&mut connection, layout)?;
    Ok(connection)
}

fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    let read = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    read.map_err(StoreError::database("read the version"))
}

/// Returns the version.
fn refuse_newer(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let (found, known) = (version(connection)?, known_version());
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

fn check(connection: &Connection) -> Result<(), StoreError> {
    let finding: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(StoreError::database("check the database"))?;
    if finding == "ok" { Ok(()) } else { Err(StoreError::Damaged { finding }) }
}

/// Brings the database to the newest version, in one step for whoever is killed meanwhile.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = StoreError::database("migrate the database");
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let from = refuse_newer(&transaction, path)?;
    if from == known_version() {
        return Ok(());
    }
    let steps = usize::try_from(from)
        .map_err(|_| StoreError::Damaged { finding: format!("there is no version {from}") })?;
    for step in MIGRATIONS.iter().skip(steps) {
        transaction.execute_batch(step).map_err(&failed)?;
    }
    transaction.pragma_update(None, "user_version", known_version()).map_err(&failed)?;
    transaction.commit().map_err(&failed)
}

/// Fills the database from the cards that have no row, and from the outputs that lie beside them.
fn recover(transaction: &Transaction<'_>, layout: &Layout) -> Result<(), StoreError> {
    let known: HashSet<_> = workspaces::every(transaction)?.into_iter().map(|(id, _)| id).collect();
    for record in card::all(layout)?.into_iter().filter(|record| !known.contains(&record.id)) {
        workspaces::insert(transaction, &record)?;
        let outputs = commands::kept_outputs(&layout.workspace(&record.id));
        for command in &outputs {
            super::commands::insert_found(transaction, &record.id, command)?;
        }
        info!(workspace = %record.id, commands = outputs.len(), "recovered from its card");
    }
    Ok(())
}

/// A card is written just before its row is committed: whoever was killed in between left one that is ahead, or has no row
/// yet. A row that cannot be read any more, and one that is missing, as all are of a database that was lost, gets what its
/// card tells.
fn compare_with_cards(connection: &mut Connection, layout: &Layout) -> Result<(), StoreError> {
    let failed = StoreError::database("compare the cards");
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    for (id, row) in workspaces::every(&transaction)? {
        match (row, card::read(layout, &id)) {
            (Ok(record), card) => {
                if card.ok().flatten().is_none_or(|card| !card::same(&card, &record)) {
                    info!(workspace = %id, "its card is not what its record is and is written again");
                    card::write(layout, &record)?;
                }
            }
            (Err(error), Ok(Some(record))) => {
                warn!(workspace = %id, error = %chain(&error), "its record is unreadable and taken from its card");
                workspaces::update(&transaction, &record)?;
            }
            (Err(error), _) => {
                warn!(workspace = %id, error = %chain(&error), "its record is unreadable, and its card too, if it has one; it is left out");
            }
        }
    }
    recover(&transaction, layout)?;
    transaction.commit().map_err(&failed)
}

/// Moves a damaged database out of the way. Its log goes first: beside a new database it would be taken for its own.
fn move_aside(path: &Path) -> Result<std::path::PathBuf, StoreError> {
    let seconds = super::to_ns(std::time::SystemTime::now()) / 1_000_000_000;
    let named = |suffix: &str| -> std::path::PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    };
    let mut aside = format!(".damaged-{seconds}");
    while named(&aside).exists() {
        aside.push('x');
    }
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (named(suffix), named(&format!("{aside}{suffix}")));
        match fs::rename(&from, &to) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::File { operation: "move aside the damaged", path: from, source });
            }
            _ => {}
        }
    }
    Ok(named(&aside))
}
