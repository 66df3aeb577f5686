//! What is asked with every command costs the same, however long the history is; and histories of earlier versions.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Commands in the middle of a history, every fifth failed and every seventh a job, each with 10 bytes of output.
async fn fill(store: &Store, commands: u64) {
    let record = serde_json::to_string(&finished(command(None), 0, 10)).unwrap();
    let filled = store.transact("fill a history", Durability::Process, move |transaction| {
        let sql = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?2)
                   INSERT INTO commands (workspace, sequence, active, failed, kept_bytes, detached, record)
                   SELECT ?1, n, 0, n % 5 = 0, 10, n % 7 = 0, ?3 FROM number";
        let (workspace, count) = (id(1), i64::try_from(commands).unwrap());
        let failed = StoreError::database("fill a history");
        transaction.execute(sql, rusqlite::params![workspace.as_str(), count, record]).map_err(&failed)?;
        let sql = "UPDATE workspaces SET next_sequence = ?1";
        transaction.execute(sql, [count + 1]).map(drop).map_err(&failed)
    });
    filled.await.unwrap();
}

/// Counts the steps of the database's machine from now on.
fn count_steps(store: &Store) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let job: Job = Box::new(move |writer| {
        let count = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            false
        };
        writer.connection.progress_handler(1, Some(count)).unwrap();
    });
    store.worker.jobs.as_ref().unwrap().send(job).unwrap();
    steps
}

/// The steps of each question that comes with a command, with so many commands in the history.
async fn steps(commands: u64) -> BTreeMap<&'static str, u64> {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    store.insert_workspace(&workspace(1)).await.unwrap();
    fill(&store, commands).await;
    let all_bytes = commands * 10;
    let counted = count_steps(&store);
    let mut taken = BTreeMap::new();
    let mut note = |name| {
        taken.insert(name, counted.swap(0, Ordering::SeqCst));
    };
    // What prepares statements is no matter of the history, and is not counted.
    for _ in 0..2 {
        note("nothing");
        let added = insert(&store, Some("k")).await;
        note("add");
        assert!(matches!(
            store.insert_command(&id(1), command(Some("k"))).await.unwrap(),
            Inserted::Earlier(_)
        ));
        note("find by key");
        let running = CommandRecord { state: CommandState::Running, ..added };
        store.update_command(&id(1), &running, Durability::Process).await.unwrap();
        note("write down that it runs");
        assert_eq!(store.active_commands(&id(1)).await.unwrap().len(), 1);
        note("list what runs");
        let ended = CommandRecord { idempotency_key: None, ..finished(running, 1, 10) };
        store.update_command(&id(1), &ended, Durability::Process).await.unwrap();
        note("write down its end");
        let over = store.commands_over_quota(&id(1), all_bytes - 20).await.unwrap();
        assert!((3..=4).contains(&over.len()), "{}", over.len());
        note("what is over the quota");
        assert!(store.commands_over_quota(&id(1), u64::MAX).await.unwrap().is_empty());
        note("nothing is over the quota");
        assert_eq!(store.command_counts(&id(1)).await.unwrap().running, 0);
        note("count");
        assert_eq!(store.all_command_counts().await.unwrap().len(), 1);
        note("count all");
        assert!(store.last_ended_command(&id(1)).await.unwrap().is_some());
        note("the newest");
        assert_eq!(store.detached_commands(&id(1), 1).await.unwrap().len(), 1);
        note("jobs");
        for (name, failed_only, newest_first) in [
            ("newest page", false, true),
            ("oldest page", false, false),
            ("newest failures", true, true),
            ("oldest failures", true, false),
        ] {
            let query = CommandQuery { failed_only, newest_first, limit: 1, after: None };
            assert_eq!(store.commands(&id(1), query).await.unwrap().commands.len(), 1);
            note(name);
        }
        // So that the second round finds its key free.
        let sql = "UPDATE commands SET idempotency_key = NULL WHERE workspace = ?1 AND sequence = ?2";
        let freed = store.transact("free a key", Durability::Process, move |transaction| {
            let (workspace, sequence) = (id(1), i64::try_from(ended.sequence).unwrap());
            let freed = transaction.execute(sql, rusqlite::params![workspace.as_str(), sequence]);
            freed.map(drop).map_err(StoreError::database("free a key"))
        });
        freed.await.unwrap();
    }
    taken
}

#[tokio::test]
async fn a_command_costs_the_same_behind_ten_and_ten_thousand_others() {
    let (few, many) = (steps(10).await, steps(10_000).await);
    assert!(few.iter().all(|(name, steps)| *name == "nothing" || *steps > 0), "{few:?}");
    for (name, steps) in &many {
        // Where a row lies in its page makes a small difference, and the history none.
        assert!(*steps <= few[name] + few[name] / 4, "{name}: {} and {steps}", few[name]);
    }
}

#[tokio::test]
async fn totals_follow_every_change() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    store.insert_workspace(&workspace(1)).await.unwrap();
    let counts = async || {
        let CommandCounts { total, running, failed } = store.command_counts(&id(1)).await.unwrap();
        (total, running, failed)
    };
    assert_eq!(counts().await, (0, 0, 0));
    let [first, second] = [insert(&store, None).await, insert(&store, None).await];
    assert_eq!(counts().await, (2, 2, 0));
    let failed = finished(first, 1, 30);
    store.update_command(&id(1), &failed, Durability::Process).await.unwrap();
    store.update_command(&id(1), &failed, Durability::Process).await.unwrap();
    assert_eq!(counts().await, (2, 1, 1));
    // Its outputs made room.
    let emptied = CommandRecord { stdout: OutputRecord::default(), ..failed };
    assert_eq!(store.commands_over_quota(&id(1), 29).await.unwrap().len(), 1);
    store.update_command(&id(1), &emptied, Durability::Process).await.unwrap();
    assert!(store.commands_over_quota(&id(1), 0).await.unwrap().is_empty());
    // A lost one that is taken up again runs.
    let again = CommandRecord { state: CommandState::Running, ..emptied };
    store.update_command(&id(1), &again, Durability::Process).await.unwrap();
    store.update_command(&id(1), &finished(second, 0, 7), Durability::Process).await.unwrap();
    assert_eq!(counts().await, (2, 1, 0));
    assert_eq!(store.clear_commands(&id(1)).await.unwrap().len(), 1);
    assert_eq!(counts().await, (1, 1, 0));
    assert!(store.commands_over_quota(&id(1), 0).await.unwrap().is_empty());
    store.remove_workspace(&id(1)).await.unwrap();
    assert_eq!(counts().await, (0, 0, 0));
    assert!(store.all_command_counts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_history_of_the_first_version_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(layout(directory.path()).state()).unwrap();
    let path = layout(directory.path()).store();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(database::MIGRATIONS[0]).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
        .execute(
            "INSERT INTO workspaces VALUES (?1, NULL, 'started', 0, 0, 6, ?2)",
            rusqlite::params![id(1).as_str(), card::encode(&workspace(1)).unwrap()],
        )
        .unwrap();
    let old = |sequence: u64, command: CommandRecord, detached: bool| {
        let command = CommandRecord { sequence, detached, ..command };
        let text = match sequence {
            // As a disk that lies leaves one.
            5 => "{".to_owned(),
            _ => serde_json::to_string(&command).unwrap(),
        };
        let kept = i64::try_from(command.kept_bytes()).unwrap();
        let (active, failed) = (command.state.is_active(), command.state.is_failure());
        let (workspace, number) = (id(1), i64::try_from(sequence).unwrap());
        let values = rusqlite::params![workspace.as_str(), number, active, failed, kept, text];
        connection.execute("INSERT INTO commands VALUES (?1, ?2, NULL, ?3, ?4, ?5, ?6)", values).unwrap();
    };
    old(1, finished(command(None), 0, 40), true);
    old(2, finished(command(None), 1, 2), false);
    old(3, finished(command(None), 0, 3), true);
    old(4, command(None), true);
    old(5, finished(command(None), 2, 0), false);
    drop(connection);

    for _ in 0..2 {
        let store = store(directory.path()).await;
        let counts = store.command_counts(&id(1)).await.unwrap();
        assert_eq!(counts, CommandCounts { total: 5, running: 1, failed: 2 });
        let jobs = store.detached_commands(&id(1), 9).await.unwrap();
        assert_eq!(jobs.iter().map(|job| job.sequence).collect::<Vec<_>>(), [3, 1]);
        let over = async |quota| store.commands_over_quota(&id(1), quota).await.unwrap();
        assert!(over(45).await.is_empty());
        assert_eq!(over(44).await.len(), 1);
    }
    assert_eq!(moved_aside(directory.path()), 0);
    let version =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(usize::try_from(version.unwrap()).unwrap(), database::MIGRATIONS.len());
}
