//! What is measured, one function for each group of figures.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{
    cli::Pyro,
    floor::{Floor, Live},
    report::Report,
    statistics::{Samples, milliseconds},
};

/// The words of a warm run that does nothing.
pub(crate) const RUN_TRUE: [&str; 5] = ["run", "--quiet", "debian:12", "--", "true"];
const BURST: usize = 10;
/// What is sent through the port each way, and how large the largest file is.
pub(crate) const PORT_BYTES: usize = 256 << 20;

/// The first run in a home without templates: it boots a machine and saves it.
pub(crate) fn cold(pyro: &Pyro, report: &mut Report) -> anyhow::Result<()> {
    let (taken, _) = pyro.timed(&RUN_TRUE)?;
    report.add(
        "run_cold_ms",
        milliseconds(taken),
        "ms",
        "first `pyro run debian:12 -- true`: daemon started, template built",
    );
    Ok(())
}

/// Warm runs against the floor, taken in turn so that both meet the same load.
pub(crate) async fn warm(
    pyro: &Pyro,
    floor: &mut Floor,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut runs, mut floors) = (Samples::default(), Samples::default());
    // One of each is not counted: it finds the files in no cache.
    pyro.timed(&RUN_TRUE)?;
    floor.run_true().await?;
    for _ in 0..rounds {
        floors.push(floor.run_true().await?);
        runs.push(tokio::task::block_in_place(|| pyro.timed(&RUN_TRUE))?.0);
    }
    let how = format!("median of {rounds}, taken in turn");
    report.add("floor_ms", floors.median(), "ms", format!("engine alone: restore, `true`, end; {how}"));
    report.add("run_warm_ms", runs.median(), "ms", format!("warm `pyro run debian:12 -- true`; {how}"));
    report.add("run_warm_p90_ms", runs.quantile(0.9), "ms", "the same, nine of ten are faster");
    report.add("run_over_floor", runs.median() / floors.median(), "ratio", "`run_warm_ms` / `floor_ms`");
    Ok(())
}

/// Start of the program itself.
pub(crate) fn version(pyro: &Pyro, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        samples.push(pyro.timed(&["--version"])?.0);
    }
    report.add("version_ms", samples.median(), "ms", format!("`pyro --version`, median of {rounds}"));
    Ok(())
}

/// Ten runs at once.
pub(crate) fn burst(pyro: &Pyro, report: &mut Report) -> anyhow::Result<()> {
    let (taken, failed) = pyro.burst(&RUN_TRUE, BURST)?;
    report.add(
        "burst_ms",
        milliseconds(taken),
        "ms",
        format!("{BURST} warm runs at once, until the last has ended"),
    );
    #[expect(clippy::cast_precision_loss, reason = "at most ten")]
    report.add("burst_failed", failed as f64, "count", "how many of them failed");
    Ok(())
}

/// A command on a live machine, against what it is made of.
pub(crate) async fn exec(live: &mut Live, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    live.run(&["true"]).await?;
    let fork_exec = guest_fork_exec(live).await?;
    let (mut pings, mut commands) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let begin = Instant::now();
        live.run(&["true"]).await?;
        commands.push(begin.elapsed());
        // The first answer after a command waits until the guest has tidied up behind it.
        live.session.ping().await?;
        let begin = Instant::now();
        live.session.ping().await?;
        pings.push(begin.elapsed());
    }
    let parts = pings.median() + fork_exec;
    report.add(
        "port_round_trip_ms",
        pings.median(),
        "ms",
        format!("a request and its answer; median of {rounds}"),
    );
    report.add(
        "guest_fork_exec_ms",
        fork_exec,
        "ms",
        "a shell in the guest starts `/bin/true` and waits, per command",
    );
    report.add("exec_ms", commands.median(), "ms", format!("`true` on a live machine; median of {rounds}"));
    report.add(
        "exec_over_parts",
        commands.median() / parts,
        "ratio",
        "`exec_ms` / (`port_round_trip_ms` + `guest_fork_exec_ms`)",
    );
    Ok(())
}

/// What the port of a guest takes in large reads and writes: a program's input and output, with the engine alone.
pub(crate) async fn port(live: &mut Live, report: &mut Report) -> anyhow::Result<()> {
    let taken_in = live.swallow(PORT_BYTES).await?;
    let taken_out = live.pour(PORT_BYTES).await?;
    let how = "256 MiB through the port with the engine alone";
    report.add("port_in_ms", milliseconds(taken_in), "ms", format!("{how}, to `cat > /dev/null`"));
    report.add("port_out_ms", milliseconds(taken_out), "ms", format!("{how}, from `head -c … /dev/zero`"));
    Ok(())
}

/// What the guest itself takes for fork, exec and wait, by its own clock.
async fn guest_fork_exec(live: &mut Live) -> anyhow::Result<f64> {
    const COUNT: u32 = 40;
    let script = format!(
        "a=$(date +%s%N); i=0; while [ $i -lt {COUNT} ]; do /bin/true; i=$((i+1)); done; b=$(date +%s%N); echo $((b-a))"
    );
    // Once to warm the translation of the shell's own code.
    live.run(&["/bin/sh", "-c", &script]).await?;
    let output = live.run(&["/bin/sh", "-c", &script]).await?;
    let nanoseconds: f64 = String::from_utf8(output)?.trim().parse().context("read the guest's clock")?;
    Ok(nanoseconds / f64::from(COUNT) / 1e6)
}

/// Sizes: on disk, in the guest, and in the host's memory.
pub(crate) async fn sizes(floor: &mut Floor, agent: &Path, report: &mut Report) -> anyhow::Result<()> {
    let binary = fs::metadata(agent)?.len();
    report.add("guest_binary_mib", mebibytes(binary), "MiB", "the static agent");
    let mut live = floor.restore().await?;
    let status = live.run(&["cat", "/proc/1/status"]).await?;
    live.end().await?;
    let resident = kibibytes(&String::from_utf8_lossy(&status), "VmRSS:").context("no VmRSS of the agent")?;
    report.add(
        "guest_resident_mib",
        mebibytes(resident << 10),
        "MiB",
        "resident memory of the agent, PID 1 in the guest",
    );
    Ok(())
}

/// An idle clone: disk before use, and memory of its own while a sibling runs.
pub(crate) async fn idle_clone(floor: &mut Floor, report: &mut Report) -> anyhow::Result<()> {
    let sibling = floor.restore().await?;
    let clone = floor.restore().await?;
    let disk = fs::metadata(clone.directory.join("active.qcow2"))?.blocks() * 512;
    report.add("fresh_disk_mib", mebibytes(disk), "MiB", "a clone's disk, allocated, before use");
    let pid = clone.machine.identity().pid;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = ["Private_Clean:", "Private_Dirty:"]
        .iter()
        .filter_map(|field| kibibytes(&rollup, field))
        .sum::<u64>();
    report.add(
        "idle_clone_private_mib",
        mebibytes(private << 10),
        "MiB",
        "private memory of a restored, greeted, idle machine beside a sibling",
    );
    let shared =
        ["Shared_Clean:", "Shared_Dirty:"].iter().filter_map(|field| kibibytes(&rollup, field)).sum::<u64>();
    report.add("idle_clone_shared_mib", mebibytes(shared << 10), "MiB", "what it shares with its siblings");
    clone.end().await?;
    sibling.end().await
}

fn kibibytes(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Where the time of a restored machine goes, step by step: code that a clone runs for the first time has to be
/// translated by an emulating engine, so first and second differ. Wall time, and processor time of the VMM, which says
/// more on a machine that others use too.
pub(crate) async fn first_steps(floor: &mut Floor, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let names = [
        ("step_restore_ms", "step_restore_cpu_ms", "restored and greeted"),
        ("step_first_true_ms", "step_first_true_cpu_ms", "the first `true`"),
        ("step_second_true_ms", "step_second_true_cpu_ms", "the second `true`"),
    ];
    let mut steps: [(Samples, Samples); 3] = Default::default();
    for _ in 0..rounds {
        let (mut begin, mut used) = (Instant::now(), Duration::ZERO);
        let mut live = floor.restore().await?;
        let pid = live.machine.identity().pid;
        for (index, (wall, processor)) in steps.iter_mut().enumerate() {
            if index > 0 {
                live.run(&["true"]).await?;
            }
            let (now, total) = (Instant::now(), processor_time(pid)?);
            wall.push(now - begin);
            processor.push(total - used);
            (begin, used) = (now, total);
        }
        live.end().await?;
    }
    for ((wall_name, cpu_name, how), (wall, processor)) in names.into_iter().zip(&steps) {
        report.add(wall_name, wall.median(), "ms", format!("engine alone: {how}"));
        report.add(cpu_name, processor.median(), "ms", format!("processor time of the VMM: {how}"));
    }
    Ok(())
}

/// Processor time of all threads of a process.
fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = statistics.split_whitespace().next().context("an empty schedstat")?.parse()?;
        total += Duration::from_nanos(nanoseconds);
    }
    Ok(total)
}
