//! Snapshots, and what goes on from them, by the `pyro` binary; each in turn with its floor.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::{cli::Pyro, floor::Floor, measure::mebibytes, report::Report, statistics::Samples};

const ENVIRONMENT: &str = "debian:12";
/// What is touched between two snapshots.
const TOUCHED_MIB: usize = 8;
/// What is touched by a machine that changes much.
const MUCH_MIB: usize = 256;
/// Snapshots with little between them.
const SNAPSHOTS: usize = 7;
/// Workspaces that are forked at once.
const FORKS: usize = 10;

/// Everything that begins from a state that was saved.
pub(crate) async fn all(
    pyro: &Pyro,
    floor: &mut Floor,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let block = |work: &mut dyn FnMut() -> anyhow::Result<()>| tokio::task::block_in_place(work);
    block(&mut || words(pyro, &["workspace", "create", ENVIRONMENT, "--name", "b"]).map(drop))?;
    block(&mut || little(pyro, rounds, report))?;
    block(&mut || checkpoints(pyro, rounds, report))?;

    let (mut floors, mut resets, mut wakes) = (Samples::default(), Samples::default(), Samples::default());
    let mut firsts = Samples::default();
    for round in 0..rounds {
        floors.push(floor.run_true().await?);
        // Nobody has gone back to this one: its memory is only stored.
        let untouched = round + 1;
        if untouched < rounds.min(SNAPSHOTS) {
            let name = format!("s{untouched}");
            block(&mut || {
                firsts.push(then_exec(pyro, &["workspace", "reset", "b", "--snapshot", &name])?);
                Ok(())
            })?;
        }
        block(&mut || {
            resets.push(then_exec(pyro, &["workspace", "reset", "b", "--snapshot", "s0"])?);
            words(pyro, &["workspace", "sleep", "b"])?;
            // What wakes it is the command itself.
            wakes.push(then_exec(pyro, &[])?);
            Ok(())
        })?;
    }
    let how = format!("median of {rounds}, taken in turn with the engine alone");
    report.add(
        "reset_first_exec_ms",
        resets.median(),
        "ms",
        format!("`workspace reset` to a snapshot and the first `exec -- true`; {how}"),
    );
    report.add(
        "reset_over_floor",
        resets.median() / floors.median(),
        "ratio",
        "`reset_first_exec_ms` / the engine alone, as for `floor_ms`",
    );
    // One round has none of these.
    if rounds > 1 {
        report.add(
            "first_reset_over_floor",
            firsts.median() / floors.median(),
            "ratio",
            "the same for the first reset to a snapshot, whose memory is not loaded / the engine alone",
        );
    }
    report.add("wake_first_exec_ms", wakes.median(), "ms", "`exec -- true` of a workspace that sleeps");
    report.add(
        "wake_over_floor",
        wakes.median() / floors.median(),
        "ratio",
        "`wake_first_exec_ms` / the engine alone",
    );
    forks(pyro, floor, report).await?;
    block(&mut || private(pyro, report))?;
    block(&mut || words(pyro, &["workspace", "delete", "b", "--force"]).map(drop))?;
    block(&mut || much(pyro, report))
}

fn words(pyro: &Pyro, words: &[&str]) -> anyhow::Result<Duration> {
    pyro.timed(words).map(|(taken, _)| taken)
}

/// How long these words and a first command take.
fn then_exec(pyro: &Pyro, before: &[&str]) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    if !before.is_empty() {
        words(pyro, before)?;
    }
    words(pyro, &["workspace", "exec", "b", "-n", "--", "true"])?;
    Ok(begin.elapsed())
}

/// Snapshots of a machine that changed little since its last one, and not much since it was made.
fn little(pyro: &Pyro, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (mut pauses, mut takes, mut stored) = (Samples::default(), Samples::default(), Samples::default());
    let rounds = rounds.min(SNAPSHOTS);
    for round in 0..rounds {
        // The same pages again: they are few since the machine was started.
        let script = format!("head -c {} /dev/urandom > /dev/shm/touched", TOUCHED_MIB << 20);
        words(pyro, &["workspace", "exec", "b", "-n", "--", "sh", "-c", &script])?;
        let name = format!("s{round}");
        let (taken, output) = pyro.timed(&["workspace", "snapshot", "create", "b", &name, "--json"])?;
        let result: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let number = |key: &str| result["snapshot"][key].as_f64().with_context(|| format!("no {key}"));
        pauses.push_value(number("paused_ms")?);
        takes.push(taken);
        stored.push_value(number("size_bytes")? / f64::from(1 << 20));
    }
    report.add(
        "snapshot_paused_ms",
        pauses.median(),
        "ms",
        format!("{TOUCHED_MIB} MiB touched since the last snapshot: how long the machine stood still; median of {rounds}"),
    );
    report.add("snapshot_ms", takes.median(), "ms", "the whole `snapshot create`, until all of it is sealed");
    report.add(
        "snapshot_stored_over_touched",
        stored.median() / TOUCHED_MIB as f64,
        "ratio",
        "what one takes on the host / what was touched",
    );
    Ok(())
}

/// What a checkpoint adds to a command that changes little.
fn checkpoints(pyro: &Pyro, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (mut with, mut without) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        words(pyro, &["workspace", "update", "b", "--auto-checkpoint", "on"])?;
        // The first one has all that came before to keep.
        then_exec(pyro, &[])?;
        with.push(then_exec(pyro, &[])?);
        words(pyro, &["workspace", "update", "b", "--auto-checkpoint", "off"])?;
        without.push(then_exec(pyro, &[])?);
    }
    report.add(
        "checkpoint_added_ms",
        with.median() - without.median(),
        "ms",
        format!(
            "`exec -- true` with a checkpoint before it, less the same without; medians of {rounds}, in turn"
        ),
    );
    Ok(())
}

/// What a fork that nobody has used has of its own, beyond what its VMM takes by itself.
fn private(pyro: &Pyro, report: &mut Report) -> anyhow::Result<()> {
    let mut owns = Samples::default();
    let (_, output) =
        pyro.timed(&["workspace", "fork", "b", "--snapshot", "s0", "--count", "3", "--id-only"])?;
    let ids = String::from_utf8(output.stdout)?;
    for id in ids.lines() {
        let machine = pyro.machine_of(id)?;
        owns.push_value(mebibytes(guest_private_bytes(machine)?));
    }
    for id in ids.lines() {
        words(pyro, &["workspace", "delete", id, "--force"])?;
    }
    report.add(
        "fork_private_mib",
        owns.median(),
        "MiB",
        "memory of the guest that a fork has of its own before it is used; median of 3",
    );
    Ok(())
}

/// Pages of the guest's memory that a machine's process has of its own.
fn guest_private_bytes(pid: u64) -> anyhow::Result<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let mut is_memory = false;
    let mut kib = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !first.ends_with(':') {
            is_memory = line.contains("memfd:pyro-memory");
        } else if is_memory && ["Private_Clean:", "Private_Dirty:"].contains(&first) {
            kib += words.next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(kib << 10)
}

/// Machines that have changed much: of the disk alone, then of memory.
fn much(pyro: &Pyro, report: &mut Report) -> anyhow::Result<()> {
    let number = |output: &[u8], key: &str| -> anyhow::Result<f64> {
        let result: serde_json::Value = serde_json::from_slice(output)?;
        result["snapshot"][key].as_f64().with_context(|| format!("no {key}"))
    };
    let (_, output) =
        pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "m", "--disk-mib", "6144", "--id-only"])?;
    let id = String::from_utf8(output.stdout)?;
    let run = |script: &str| {
        words(pyro, &["workspace", "exec", "m", "-n", "--timeout-seconds", "600", "--", "sh", "-c", script])
    };
    // Past the page cache, so that memory stays as it is.
    run("dd if=/dev/zero of=/written bs=1M count=2048 oflag=direct 2>/dev/null")?;
    let (_, output) = pyro.timed(&["workspace", "snapshot", "create", "m", "written", "--json"])?;
    report.add(
        "snapshot_written_paused_ms",
        number(&output.stdout, "paused_ms")?,
        "ms",
        "the same with 2 GiB written to the disk since the last snapshot",
    );
    run(&format!("head -c {} /dev/urandom > /dev/shm/touched", MUCH_MIB << 20))?;
    let mut pauses = Samples::default();
    for name in ["one", "two", "three"] {
        let (_, output) = pyro.timed(&["workspace", "snapshot", "create", "m", name, "--json"])?;
        pauses.push_value(number(&output.stdout, "paused_ms")?);
    }
    let machine = pyro.machine_of(id.trim())?;
    let touched_bytes = guest_private_bytes(machine)?;
    let copy = pyro.copied(touched_bytes)?;
    words(pyro, &["workspace", "delete", "m", "--force"])?;
    report.add(
        "snapshot_much_paused_ms",
        pauses.median(),
        "ms",
        format!("the pause of a machine that has {} MiB of its own; median of 3", touched_bytes >> 20),
    );
    report.add(
        "snapshot_paused_over_copy",
        pauses.median() / (copy.as_secs_f64() * 1000.0),
        "ratio",
        "`snapshot_much_paused_ms` / copying as much memory to a new file of the same file system; median of 3",
    );
    Ok(())
}

/// Ten from one that was saved, against as many restores by the engine, all at once.
async fn forks(pyro: &Pyro, floor: &mut Floor, report: &mut Report) -> anyhow::Result<()> {
    let (mut floors, mut forks) = (Samples::default(), Samples::default());
    for _ in 0..3 {
        let (together, live) = floor.restore_together(FORKS).await?;
        for machine in live {
            machine.end().await?;
        }
        floors.push(together);
        let count = FORKS.to_string();
        tokio::task::block_in_place(|| -> anyhow::Result<()> {
            let (taken, output) =
                pyro.timed(&["workspace", "fork", "b", "--snapshot", "s0", "--count", &count, "--id-only"])?;
            forks.push(taken);
            let ids = String::from_utf8(output.stdout)?;
            ensure!(ids.lines().count() == FORKS, "{ids} are not {FORKS}");
            for id in ids.lines() {
                words(pyro, &["workspace", "delete", id, "--force"])?;
            }
            Ok(())
        })?;
    }
    report.add(
        "fork_10_ms",
        forks.median(),
        "ms",
        "`workspace fork --count 10` from a snapshot; median of 3",
    );
    report.add(
        "fork_10_floor_ms",
        floors.median(),
        "ms",
        "ten machines restored by the engine and greeted, started together",
    );
    report.add(
        "fork_over_floor",
        forks.median() / floors.median(),
        "ratio",
        "`fork_10_ms` / `fork_10_floor_ms`",
    );
    Ok(())
}
