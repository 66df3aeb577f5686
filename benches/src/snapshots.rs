//! Snapshots, and what goes on from them, by the `pyro` binary; each in turn with its floor.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::{cli::Pyro, floor::Floor, report::Report, statistics::Samples};

const ENVIRONMENT: &str = "debian:12";
/// What is touched between two snapshots.
const TOUCHED_MIB: usize = 8;
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

    let (mut floors, mut resets, mut wakes) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..rounds {
        floors.push(floor.run_true().await?);
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
    report.add("wake_first_exec_ms", wakes.median(), "ms", "`exec -- true` of a workspace that sleeps");
    report.add(
        "wake_over_floor",
        wakes.median() / floors.median(),
        "ratio",
        "`wake_first_exec_ms` / the engine alone",
    );
    forks(pyro, floor, report).await?;
    block(&mut || words(pyro, &["workspace", "delete", "b", "--force"]).map(drop))
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
    let rounds = rounds.min(7);
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
