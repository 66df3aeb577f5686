//! The store in a directory of its own, killed, damaged and outlived.

mod long_history;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pyro_engine::{MachineId, MachineShape, Nic};
use rusqlite::Connection;

use super::*;
use crate::{
    commands::{CommandCounts, CommandRecord, CommandState, OutputRecord, Stdin},
    run::CommandEnd,
    workspaces::{SeedRecord, StopReason, WorkspaceId, WorkspaceRecord, WorkspaceState},
};

fn layout(directory: &Path) -> Layout {
    Layout::new(directory, directory.join("cache"))
}

async fn store(directory: &Path) -> Store {
    Store::open(&layout(directory)).await.unwrap()
}

fn id(number: u8) -> WorkspaceId {
    WorkspaceId::from_bytes([number; 6])
}

fn workspace(number: u8) -> WorkspaceRecord {
    let at = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    WorkspaceRecord {
        id: id(number),
        name: Some(format!("fix {number}")),
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        environment: "debian:12".to_owned(),
        environment_version: "1".to_owned(),
        boot_digest: "d".to_owned(),
        kernel_arguments: vec!["quiet".to_owned()],
        shape: MachineShape { vcpus: 1, mem_mib: 1024, nic: Nic::None },
        disk_bytes: 1 << 32,
        ttl: Some(Duration::from_secs(600)),
        created_at: at,
        last_activity_at: at,
        state: WorkspaceState::Started { machine: MachineId::from_bytes([number; 6]) },
        seed: SeedRecord::default(),
        disk: Default::default(),
        lineage: Default::default(),
        idle_sleep: None,
        auto_checkpoint: false,
        last_error: None,
        one_shot: false,
        call: None,
        ends_with_callers: false,
        allow_host_compat: true,
    }
}

fn command(key: Option<&str>) -> CommandRecord {
    CommandRecord {
        sequence: 0,
        command: "make".to_owned(),
        cwd: "/workspace".to_owned(),
        user: None,
        detached: false,
        env_names: vec!["CI".to_owned()],
        timeout: None,
        stdin: Stdin::Null,
        idempotency_key: key.map(str::to_owned),
        request_digest: "d".to_owned(),
        created_at: UNIX_EPOCH,
        started_at: None,
        ended_at: None,
        state: CommandState::Starting,
        stdout: OutputRecord::default(),
        stderr: OutputRecord::default(),
        slept: Duration::ZERO,
        restored: false,
        note: None,
    }
}

fn finished(command: CommandRecord, code: i32, kept_bytes: u64) -> CommandRecord {
    let end = CommandEnd::Exited(code);
    let state = CommandState::Finished { end, out_of_memory: false, duration: Duration::from_millis(5) };
    let stdout = OutputRecord { total_bytes: kept_bytes, kept_bytes, removed: false };
    CommandRecord { state, stdout, ..command }
}

async fn insert(store: &Store, key: Option<&str>) -> CommandRecord {
    match store.insert_command(&id(1), command(key)).await.unwrap() {
        Inserted::New(command) => command,
        Inserted::Earlier(earlier) => panic!("{earlier:?}"),
    }
}

fn query() -> CommandQuery {
    CommandQuery { failed_only: false, newest_first: false, after: None, limit: 100 }
}

fn sequences(page: &CommandPage) -> Vec<u64> {
    page.commands.iter().map(|command| command.sequence).collect()
}

#[tokio::test]
async fn workspaces_are_found_as_they_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let first = workspace(1);
    {
        let store = store(directory.path()).await;
        store.insert_workspace(&first).await.unwrap();
        store.insert_workspace(&workspace(2)).await.unwrap();
        assert!(store.insert_workspace(&first).await.is_err(), "an id is used once");
        let absent = store.update_workspace(&workspace(3)).await;
        assert!(matches!(absent, Err(Error::Index(StoreError::NoWorkspace { .. }))), "{absent:?}");
    }
    let store = store(directory.path()).await;
    assert_eq!(store.load_workspace(&id(1)).await.unwrap(), Some(first.clone()));
    let stopped = WorkspaceRecord {
        state: WorkspaceState::Stopped { reason: StopReason::Expired },
        name: None,
        ..first
    };
    store.update_workspace(&stopped).await.unwrap();
    assert_eq!(store.load_workspaces().await.unwrap(), [stopped, workspace(2)]);
    store.remove_workspace(&id(1)).await.unwrap();
    store.remove_workspace(&id(1)).await.unwrap();
    assert_eq!(store.load_workspaces().await.unwrap(), [workspace(2)]);
}

#[tokio::test]
async fn activity_is_kept_and_an_older_record_does_not_undo_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let record = workspace(1);
    store.insert_workspace(&record).await.unwrap();
    let later = record.last_activity_at + Duration::from_nanos(1_000_000_001);
    store.touch_workspace(&id(1), later).await.unwrap();
    store.update_workspace(&record).await.unwrap();
    assert_eq!(store.load_workspace(&id(1)).await.unwrap().unwrap().last_activity_at, later);
}

#[tokio::test]
async fn commands_are_numbered_and_keys_are_unique_in_a_workspace() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    for number in [1, 2] {
        store.insert_workspace(&workspace(number)).await.unwrap();
    }
    assert_eq!(insert(&store, Some("k")).await.sequence, 1);
    let again = store.insert_command(&id(1), command(Some("k"))).await.unwrap();
    assert!(matches!(again, Inserted::Earlier(CommandRecord { sequence: 1, .. })), "{again:?}");
    let other = store.insert_command(&id(2), command(Some("k"))).await.unwrap();
    assert!(matches!(other, Inserted::New(CommandRecord { sequence: 1, .. })), "{other:?}");
    let first = finished(store.command_by_key(&id(1), "k").await.unwrap().unwrap(), 0, 0);
    store.update_command(&id(1), &first, Durability::Process).await.unwrap();
    for code in [1, 0, 2] {
        let command = finished(insert(&store, None).await, code, 0);
        store.update_command(&id(1), &command, Durability::Power).await.unwrap();
    }
    insert(&store, None).await;
    let all = store.commands(&id(1), query()).await.unwrap();
    assert_eq!((sequences(&all), all.next), (vec![1, 2, 3, 4, 5], None));
    assert_eq!(all.commands[0], first);
    let page = store.commands(&id(1), CommandQuery { limit: 2, ..query() }).await.unwrap();
    assert_eq!((sequences(&page), page.next), (vec![1, 2], Some(2)));
    let rest = CommandQuery { after: page.next, newest_first: false, ..query() };
    assert_eq!(sequences(&store.commands(&id(1), rest).await.unwrap()), [3, 4, 5]);
    let newest = CommandQuery { newest_first: true, limit: 2, ..query() };
    assert_eq!(sequences(&store.commands(&id(1), newest).await.unwrap()), [5, 4]);
    let failed = CommandQuery { failed_only: true, ..query() };
    assert_eq!(sequences(&store.commands(&id(1), failed).await.unwrap()), [2, 4]);
    let counts = store.all_command_counts().await.unwrap();
    assert_eq!((counts[&id(1)].total, counts[&id(1)].running), (5, 1));
    assert_eq!(store.command_counts(&id(2)).await.unwrap().running, 1);
    assert_eq!(store.active_commands(&id(1)).await.unwrap().len(), 1);

    assert_eq!(store.clear_commands(&id(1)).await.unwrap().len(), 4);
    assert_eq!(insert(&store, None).await.sequence, 6, "numbers are not used again");
    store.remove_workspace(&id(1)).await.unwrap();
    assert_eq!(store.command_counts(&id(1)).await.unwrap().total, 0);
    assert!(store.insert_command(&id(1), command(None)).await.is_err());
}

#[tokio::test]
async fn jobs_are_found_behind_any_number_of_other_commands() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    store.insert_workspace(&workspace(1)).await.unwrap();
    assert_eq!(store.last_ended_command(&id(1)).await.unwrap(), None);
    for detached in [true, false, true, false, false] {
        let inserted = CommandRecord { detached, ..insert(&store, None).await };
        let ended = finished(inserted, 0, 0);
        store.update_command(&id(1), &ended, Durability::Process).await.unwrap();
    }
    insert(&store, None).await;
    let found = async |limit| -> Vec<u64> {
        let jobs = store.detached_commands(&id(1), limit).await.unwrap();
        jobs.iter().map(|job| job.sequence).collect()
    };
    assert_eq!(found(10).await, [3, 1]);
    assert_eq!(found(1).await, [3]);
    assert_eq!(store.last_ended_command(&id(1)).await.unwrap().unwrap().sequence, 5);
}

#[tokio::test]
async fn what_began_or_ended_since_a_moment_is_summed_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    store.insert_workspace(&workspace(1)).await.unwrap();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let ended_at =
        |command, code, seconds| CommandRecord { ended_at: Some(at(seconds)), ..finished(command, code, 0) };
    let nothing = store.commands_since(&id(1), 0, UNIX_EPOCH, 10).await.unwrap();
    assert_eq!(nothing, CommandsSince::default());
    // One that failed before the moment, one that began before and failed after it, and three that began after it.
    for end in [Some((1, 5)), Some((2, 15)), Some((0, 20)), Some((3, 25)), None] {
        let begun = insert(&store, None).await;
        if let Some((code, seconds)) = end {
            let ended = ended_at(begun, code, seconds);
            store.update_command(&id(1), &ended, Durability::Process).await.unwrap();
        }
    }
    let failures = |since: &CommandsSince| -> Vec<u64> {
        since.failures.iter().map(|command| command.sequence).collect()
    };
    let all = store.commands_since(&id(1), 0, UNIX_EPOCH, 10).await.unwrap();
    assert_eq!((all.newest, all.counts.total, all.counts.running, all.counts.failed), (5, 5, 1, 3));
    assert_eq!(failures(&all), [4, 2, 1]);
    let since = store.commands_since(&id(1), 2, at(10), 1).await.unwrap();
    assert_eq!((since.newest, since.counts.total, since.counts.running, since.counts.failed), (5, 4, 1, 2));
    assert_eq!(failures(&since), [4], "as many as were asked for");
    let later = store.commands_since(&id(1), 5, at(30), 10).await.unwrap();
    assert_eq!((later.newest, later.counts.total, later.counts.failed), (5, 0, 0));
}

#[tokio::test]
async fn the_oldest_outputs_are_over_the_quota() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    store.insert_workspace(&workspace(1)).await.unwrap();
    for kept in [50, 0, 30, 40] {
        let command = finished(insert(&store, None).await, 0, kept);
        store.update_command(&id(1), &command, Durability::Process).await.unwrap();
    }
    insert(&store, None).await;
    for (quota, over) in [(120, vec![]), (119, vec![1]), (70, vec![1]), (69, vec![1, 3]), (0, vec![1, 3, 4])]
    {
        let found = store.commands_over_quota(&id(1), quota).await.unwrap();
        assert_eq!(found.iter().map(|command| command.sequence).collect::<Vec<_>>(), over, "{quota}");
    }
}

#[tokio::test]
async fn a_newer_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = layout(directory.path()).store();
    drop(store(directory.path()).await);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open(&layout(directory.path())).await.unwrap_err();
    assert!(matches!(refused, Error::Index(StoreError::Newer { found: 99, .. })), "{refused:?}");
    let version =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version.unwrap(), 99);
}

fn moved_aside(directory: &Path) -> usize {
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("store.sqlite.damaged-") && !name.ends_with("-wal")).count()
}

#[tokio::test]
async fn a_damaged_store_is_moved_aside_and_made_again_from_the_cards() {
    let directory = tempfile::tempdir().unwrap();
    let path = layout(directory.path()).store();
    let stopped =
        WorkspaceRecord { state: WorkspaceState::Stopped { reason: StopReason::Requested }, ..workspace(2) };
    {
        let store = store(directory.path()).await;
        store.insert_workspace(&workspace(1)).await.unwrap();
        store.insert_workspace(&workspace(2)).await.unwrap();
        store.update_workspace(&stopped).await.unwrap();
        insert(&store, None).await;
    }
    let outputs = layout(directory.path()).workspace(&id(1)).join("commands");
    fs::create_dir(&outputs).unwrap();
    fs::write(outputs.join("000004.stderr"), b"12345").unwrap();

    // A page in the middle, the header, all of it, a table, and nothing left at all.
    let damages: [&dyn Fn(); 5] = [
        &|| {
            let mut bytes = fs::read(&path).unwrap();
            bytes[4096..].fill(0xA5);
            fs::write(&path, bytes).unwrap();
        },
        &|| fs::write(&path, b"SQLite format 4\0 and so on").unwrap(),
        &|| fs::write(&path, vec![7; 100_000]).unwrap(),
        &|| Connection::open(&path).unwrap().execute_batch("DROP TABLE workspaces").unwrap(),
        &|| fs::remove_file(&path).unwrap(),
    ];
    for (number, damage) in damages.iter().enumerate() {
        damage();
        for _ in 0..2 {
            let store = store(directory.path()).await;
            assert_eq!(store.load_workspaces().await.unwrap(), [workspace(1), stopped.clone()], "{number}");
            let commands = store.commands(&id(1), query()).await.unwrap();
            assert_eq!(sequences(&commands)[..1], [4], "{number}");
            assert_eq!(commands.commands[0].stderr.kept_bytes, 5);
        }
    }
    assert_eq!(moved_aside(directory.path()), 4);
    let store = store(directory.path()).await;
    assert_eq!(insert(&store, None).await.sequence, 5, "no number of a kept output is used again");
}

#[tokio::test]
async fn of_several_workspaces_all_are_written_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let changed = |number| WorkspaceRecord { name: None, ..workspace(number) };
    let (first, second) = (vec![workspace(1), workspace(2)], vec![changed(1), changed(2)]);
    {
        let store = store(directory.path()).await;
        store.insert_workspaces(first.clone()).await.unwrap();
        store.insert_workspaces(vec![workspace(3), workspace(2)]).await.unwrap_err();
        assert_eq!(store.load_workspaces().await.unwrap(), first);
        // The second card cannot be written; the first one is, before anybody knows.
        let obstacle = layout(directory.path()).workspace(&id(2)).join(".workspace.json");
        fs::create_dir(&obstacle).unwrap();
        store.update_workspaces(second.clone()).await.unwrap_err();
        assert_eq!(store.load_workspaces().await.unwrap(), first);
        fs::remove_dir(obstacle).unwrap();
    }
    let store = store(directory.path()).await;
    assert_eq!(store.load_workspaces().await.unwrap(), first);
    store.update_workspaces(second.clone()).await.unwrap();
    assert_eq!(store.load_workspaces().await.unwrap(), second);
}

#[tokio::test]
async fn a_card_or_record_that_lags_or_is_lost_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let card = layout(directory.path()).workspace(&id(1)).join("workspace.json");
    {
        let store = store(directory.path()).await;
        store.insert_workspace(&workspace(1)).await.unwrap();
    }
    let written = fs::read(&card).unwrap();
    for bad in [&b"{\"version\": 1, \"rec"[..], b"{\"version\": 99, \"record\": 7}", b""] {
        fs::write(&card, bad).unwrap();
        drop(store(directory.path()).await);
        assert_eq!(fs::read(&card).unwrap(), written);
    }
    let path = layout(directory.path()).store();
    Connection::open(path).unwrap().execute("UPDATE workspaces SET record = '{'", []).unwrap();
    let store = store(directory.path()).await;
    assert_eq!(store.load_workspaces().await.unwrap(), [workspace(1)]);
}

#[tokio::test]
async fn a_record_that_nobody_can_read_is_known_of_and_one_without_a_row_gets_one() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(directory.path());
    {
        let store = store(directory.path()).await;
        for number in 1..=4 {
            store.insert_workspace(&workspace(number)).await.unwrap();
        }
        assert!(store.unreadable_workspaces().await.unwrap().is_empty());
    }
    let card = |number| layout.workspace(&id(number)).join("workspace.json");
    let newer = r#"{"version": 99, "record": 7}"#;
    let connection = Connection::open(layout.store()).unwrap();
    // As a newer release leaves them, with and without its row, and as one was left that was killed before its row.
    connection.execute("UPDATE workspaces SET record = ?1 WHERE id = ?2", [newer, id(1).as_str()]).unwrap();
    connection
        .execute("DELETE FROM workspaces WHERE id IN (?1, ?2)", [id(2).as_str(), id(3).as_str()])
        .unwrap();
    drop(connection);
    fs::write(card(1), newer).unwrap();
    fs::write(card(2), newer).unwrap();
    let store = store(directory.path()).await;
    assert_eq!(store.load_workspaces().await.unwrap(), [workspace(3), workspace(4)]);
    assert_eq!(store.unreadable_workspaces().await.unwrap(), [id(1), id(2)].into());
    assert_eq!(fs::read_to_string(card(1)).unwrap(), newer, "what cannot be read is left alone");
}

/// Where the writer below works.
const DIRECTORY: &str = "PYRO_TEST_STORE_WRITER";

/// Not a test of its own: a process that writes until it is killed.
#[tokio::test]
async fn writer_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = store(Path::new(&directory)).await;
    for number in 0_u64.. {
        let workspace = workspace(u8::try_from(number % 5).unwrap());
        if store.load_workspace(&workspace.id).await.unwrap().is_some() {
            store.remove_workspace(&workspace.id).await.unwrap();
        }
        store.insert_workspace(&workspace).await.unwrap();
        let Inserted::New(command) = store.insert_command(&workspace.id, command(None)).await.unwrap() else {
            panic!("no key, no earlier one");
        };
        store.update_command(&workspace.id, &finished(command, 1, 9), Durability::Process).await.unwrap();
        let name = Some(format!("round {number}"));
        store.update_workspace(&WorkspaceRecord { name, ..workspace }).await.unwrap();
        writeln!(std::io::stdout(), "round {number}").unwrap();
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_leaves_every_record_readable() {
    let directory = tempfile::tempdir().unwrap();
    for kill in 0..12_u32 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::writer_that_is_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut rounds = said.filter_map(|line| line.split_once("round ")?.1.parse::<u64>().ok());
        // Somewhere in the work that follows.
        let round = rounds.by_ref().nth(3 + usize::try_from(kill).unwrap() % 4).expect("the writer works");
        let pause = Duration::from_micros(u64::from(kill) * 170);
        let killed_at = std::time::Instant::now() + pause;
        while std::time::Instant::now() < killed_at {
            std::hint::spin_loop();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();

        let store = store(directory.path()).await;
        let workspaces = store.load_workspaces().await.unwrap();
        assert!(workspaces.len() >= 4, "{workspaces:?}");
        let rounds =
            workspaces.iter().filter_map(|workspace| workspace.name.as_ref()?.strip_prefix("round "));
        let newest = rounds.map(|round| round.parse::<u64>().unwrap()).max();
        assert!(newest >= Some(round), "what was said to be written is there: {newest:?}, {round}");
        for workspace in workspaces {
            let commands = store.commands(&workspace.id, query()).await.unwrap();
            assert!(commands.commands.len() <= 1, "{commands:?}");
        }
    }
    assert_eq!(moved_aside(directory.path()), 0);
    let connection = Connection::open(layout(directory.path()).store()).unwrap();
    let check: String = connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn times_survive() {
    for time in [UNIX_EPOCH, UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)] {
        assert_eq!(from_ns(to_ns(time)), time);
    }
    assert_eq!(from_ns(to_ns(UNIX_EPOCH - Duration::from_secs(9))), UNIX_EPOCH);
    assert!(from_ns(to_ns(SystemTime::now() + Duration::from_secs(1 << 40))) > SystemTime::now());
}
