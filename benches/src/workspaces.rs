//! Workspaces as their users meet them: the `pyro` binary, a process for each command. Floors are taken in the same run: the
//! engine alone, commands inside the same guest, and what the port of a guest takes.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    cli::Pyro,
    floor::Floor,
    measure::PORT_BYTES,
    report::Report,
    statistics::{Samples, milliseconds},
};

const ENVIRONMENT: &str = "debian:12";
/// A project of middle size: so many files of so many bytes are 120 MiB.
const PROJECT_FILES: usize = 5_000;
const PROJECT_FILE_BYTES: usize = 24 << 10;
/// Workspaces that live at once.
const MANY: usize = 20;
/// Files of a large and of a small tree of which few are changed.
const TREES: [usize; 2] = [100_000, 100];
/// Files of the stopped disk that is listed.
const LISTED_FILES: usize = 10_000;

/// Everything about workspaces but for their creation.
pub(crate) fn all(pyro: &Pyro, scratch: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    small_operations(pyro, scratch, rounds, report)?;
    project(pyro, scratch, report)?;
    large_file(pyro, scratch, report)?;
    differences(pyro, scratch, report)?;
    stopped_disk(pyro, scratch, rounds, report)?;
    many(pyro, rounds, report)
}

fn value(report: &Report, name: &str) -> anyhow::Result<f64> {
    let row = report.rows.iter().find(|row| row.name == name);
    row.map(|row| row.value).with_context(|| format!("no figure {name}"))
}

/// From nothing to the end of the first command, with a small seed, in turn with the engine alone.
pub(crate) async fn create(
    pyro: &Pyro,
    floor: &mut Floor,
    scratch: &Path,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let seed = scratch.join("small");
    fs::create_dir(&seed)?;
    for number in 0..3 {
        fs::write(seed.join(format!("{number}.txt")), "a line\n")?;
    }
    let seed = seed.to_str().context("a path that is no text")?;
    let once = || -> anyhow::Result<(Duration, Duration)> {
        let (created, _) =
            pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "b", "--seed-path", seed])?;
        let (first, _) = pyro.timed(&["workspace", "exec", "b", "-n", "--", "true"])?;
        pyro.timed(&["workspace", "delete", "b", "--force"])?;
        Ok((created, created + first))
    };
    let (mut floors, mut creates, mut firsts) = (Samples::default(), Samples::default(), Samples::default());
    tokio::task::block_in_place(once)?;
    for _ in 0..rounds {
        floors.push(floor.run_true().await?);
        let (created, first) = tokio::task::block_in_place(once)?;
        creates.push(created);
        firsts.push(first);
    }
    let how = format!("median of {rounds}, taken in turn with the floor");
    report.add(
        "workspace_create_ms",
        creates.median(),
        "ms",
        format!("`workspace create` with a seed of three files; {how}"),
    );
    report.add(
        "workspace_create_alone_over_floor",
        creates.median() / floors.median(),
        "ratio",
        "`workspace_create_ms`, its baseline included / the engine alone",
    );
    report.add("workspace_first_exec_ms", firsts.median(), "ms", "the same and the first `exec -- true`");
    report.add(
        "workspace_create_over_floor",
        firsts.median() / floors.median(),
        "ratio",
        "`workspace_first_exec_ms` / the engine alone, as for `floor_ms`",
    );
    Ok(())
}

/// Commands and files of a workspace that is there.
fn small_operations(pyro: &Pyro, scratch: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "b"])?;
    let fork_exec = value(report, "guest_fork_exec_ms")?;
    let least = value(report, "version_ms")? + value(report, "port_round_trip_ms")?;
    let median = |words: &[&str]| -> anyhow::Result<f64> {
        let mut samples = Samples::default();
        pyro.timed(words)?;
        for _ in 0..rounds {
            samples.push(pyro.timed(words)?.0);
        }
        Ok(samples.median())
    };
    let exec = median(&["workspace", "exec", "b", "-n", "--", "true"])?;
    report.add("workspace_exec_ms", exec, "ms", "`workspace exec -- true`, the client's start included");
    report.add(
        "workspace_exec_over_guest_ms",
        exec - fork_exec,
        "ms",
        "`workspace_exec_ms` - `guest_fork_exec_ms`",
    );
    for (bytes, write_name, read_name) in
        [(1 << 10, "file_write_1k_ms", "file_read_1k_ms"), (1 << 20, "file_write_1m_ms", "file_read_1m_ms")]
    {
        let source = scratch.join("content");
        fs::write(&source, vec![b'x'; bytes])?;
        let source = source.to_str().context("a path that is no text")?;
        let write = median(&["workspace", "file", "write", "b", "f", "--text-file", source])?;
        let read = median(&["workspace", "file", "read", "b", "f", "--raw"])?;
        let how = format!("{bytes} bytes by the command line, less `version_ms` and `port_round_trip_ms`");
        report.add(write_name, write - least, "ms", how.clone());
        report.add(read_name, read - least, "ms", how);
    }
    pyro.timed(&["workspace", "delete", "b", "--force"])?;
    Ok(())
}

/// A command in the guest, by the guest's own clock.
fn guest_ms(pyro: &Pyro, script: &str) -> anyhow::Result<f64> {
    let words =
        ["workspace", "exec", "b", "-n", "--json", "--timeout-seconds", "600", "--", "sh", "-c", script];
    let (_, output) = pyro.timed(&words)?;
    let result: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    result["duration_ms"].as_f64().context("no duration")
}

/// A project into a workspace and out of it.
fn project(pyro: &Pyro, scratch: &Path, report: &mut Report) -> anyhow::Result<()> {
    let seed = scratch.join("project");
    for number in 0..PROJECT_FILES {
        let directory = seed.join(format!("d{}", number / 100));
        fs::create_dir_all(&directory)?;
        let mut content = vec![b'x'; PROJECT_FILE_BYTES];
        content[..8].copy_from_slice(&number.to_le_bytes());
        fs::write(directory.join(format!("f{number}")), content)?;
    }
    let seed = seed.to_str().context("a path that is no text")?;
    let (created, _) =
        pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "b", "--seed-path", seed])?;
    let seeding = milliseconds(created) - value(report, "workspace_create_ms")?;
    let tar =
        guest_ms(pyro, "mkdir /tmp/copy && tar -C /workspace -cf - . | tar -C /tmp/copy -xf - && sync")?;
    report.add("guest_tar_ms", tar, "ms", "the same files by `tar | tar` and `sync` inside the guest");
    report.add("seed_ms", seeding, "ms", "5,000 files of 120 MiB as a seed, less an empty creation");
    report.add("seed_over_tar", seeding / tar, "ratio", "`seed_ms` / `guest_tar_ms`");
    // Out again: everything is new to the host.
    guest_ms(pyro, "mkdir /workspace/out && cp -r /tmp/copy/. /workspace/out/")?;
    let host = scratch.join("pulled");
    fs::create_dir(&host)?;
    let host = host.to_str().context("a path that is no text")?;
    let (pulled, _) = pyro.timed(&["workspace", "sync", "pull", "b", host])?;
    report.add("pull_ms", milliseconds(pulled), "ms", "5,000 new files of 120 MiB by `sync pull`");
    report.add("pull_over_tar", milliseconds(pulled) / tar, "ratio", "`pull_ms` / `guest_tar_ms`");
    pyro.timed(&["workspace", "delete", "b", "--force"])?;
    Ok(())
}

/// One large file each way, against what the port takes; and on its way in, where it comes to lie on the guest's disk, against a
/// program that writes what comes through the port to a file there.
fn large_file(pyro: &Pyro, scratch: &Path, report: &mut Report) -> anyhow::Result<()> {
    pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "b"])?;
    let path = scratch.join("large");
    let mut file = File::create(&path)?;
    for _ in 0..PORT_BYTES >> 20 {
        file.write_all(&[b'x'; 1 << 20])?;
    }
    let fed = |words: &[&str]| -> anyhow::Result<f64> {
        let begin = Instant::now();
        let status = pyro
            .command(words)
            .stdin(File::open(&path)?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "pyro {words:?} failed");
        Ok(milliseconds(begin.elapsed()))
    };
    let plain =
        fed(&["workspace", "exec", "b", "--timeout-seconds", "600", "--", "sh", "-c", "cat > plain"])?;
    report.add("plain_write_ms", plain, "ms", "256 MiB by `exec -- sh -c 'cat > plain'`");
    fed(&["workspace", "exec", "b", "--timeout-seconds", "600", "--", "sh", "-c", "rm plain; sync"])?;
    let upload = fed(&["workspace", "file", "upload", "b", "-", "large"])?;
    let download = fed(&["workspace", "file", "read", "b", "large", "--raw"])?;
    report.add("upload_ms", upload, "ms", "256 MiB by `file upload`");
    let port_in = value(report, "port_in_ms")?;
    report.add("upload_over_plain", upload / plain, "ratio", "`upload_ms` / `plain_write_ms`");
    report.add(
        "upload_over_port",
        upload / port_in,
        "ratio",
        "`upload_ms` / `port_in_ms`, which writes nothing down",
    );
    report.add("download_ms", download, "ms", "256 MiB by `file read --raw`");
    let port_out = value(report, "port_out_ms")?;
    report.add("download_over_port", download / port_out, "ratio", "`download_ms` / `port_out_ms`");
    pyro.timed(&["workspace", "delete", "b", "--force"])?;
    Ok(())
}

/// Ten changed files, in a large tree and in a small one.
fn differences(pyro: &Pyro, scratch: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut taken = Vec::new();
    for files in TREES {
        let seed = tree(scratch, files)?;
        pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "b", "--seed-path", &seed])?;
        guest_ms(pyro, "for i in 0 1 2 3 4 5 6 7 8 9; do echo two >> d0/f$i; done")?;
        let mut samples = Samples::default();
        for _ in 0..5 {
            samples.push(pyro.timed(&["workspace", "diff", "b"])?.0);
        }
        taken.push(samples.median());
        pyro.timed(&["workspace", "delete", "b", "--force"])?;
    }
    report.add("diff_100000_ms", taken[0], "ms", "`diff` of 10 changed files among 100,000");
    report.add("diff_100_ms", taken[1], "ms", "`diff` of 10 changed files among 100");
    report.add("diff_large_over_small", taken[0] / taken[1], "ratio", "`diff_100000_ms` / `diff_100_ms`");
    Ok(())
}

/// A directory with so many small files, a hundred in each directory of it.
fn tree(scratch: &Path, files: usize) -> anyhow::Result<String> {
    let root = scratch.join(format!("tree-{files}"));
    for number in 0..files {
        let directory = root.join(format!("d{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&directory)?;
        }
        fs::write(directory.join(format!("f{number}")), "one\n")?;
    }
    Ok(root.to_str().context("a path that is no text")?.to_owned())
}

/// The disk of a workspace without a machine.
fn stopped_disk(pyro: &Pyro, scratch: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let seed = tree(scratch, LISTED_FILES)?;
    pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", "b", "--seed-path", &seed])?;
    pyro.timed(&["workspace", "stop", "b"])?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        samples.push(pyro.timed(&["workspace", "disk", "list", "b", "--recursive", "--json"])?.0);
    }
    pyro.timed(&["workspace", "delete", "b"])?;
    report.add(
        "disk_list_10000_ms",
        samples.median(),
        "ms",
        format!("`disk list --recursive` of 10,000 files of a stopped workspace; median of {rounds}"),
    );
    Ok(())
}

/// Many workspaces on one daemon.
fn many(pyro: &Pyro, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let names: Vec<String> = (0..MANY).map(|number| format!("b{number}")).collect();
    for name in &names {
        pyro.timed(&["workspace", "create", ENVIRONMENT, "--name", name])?;
    }
    let mut lists = Samples::default();
    for _ in 0..rounds {
        lists.push(pyro.timed(&["workspace", "list"])?.0);
    }
    report.add("list_20_ms", lists.median(), "ms", "`workspace list` of 20 workspaces");
    let (_, status) = pyro.timed(&["daemon", "status", "--json"])?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
    let text = fs::read_to_string(format!("/proc/{}/status", status["pid"]))?;
    let resident = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kibibytes: f64 = resident.trim().trim_end_matches(" kB").trim().parse()?;
    report.add(
        "daemon_20_mib",
        kibibytes / 1024.0,
        "MiB",
        "the daemon's own memory with 20 workspaces, without the template that all share",
    );
    for name in &names {
        pyro.timed(&["workspace", "delete", name, "--force"])?;
    }
    Ok(())
}
