//! The Python package, which measures itself.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::{cli::Pyro, report::Report};

/// What `measure.py --json` prints.
#[derive(Deserialize)]
struct Costs {
    import_ms: f64,
    call_ms: f64,
}

/// Import and call of the package in `directory`, with the daemon that runs.
pub(crate) fn costs(pyro: &Pyro, directory: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut python = Command::new("python3");
    python.arg(directory.join("measure.py")).arg("--json");
    let output = pyro.at_home(&mut python).output().context("run python3")?;
    ensure!(output.status.success(), "measure.py failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let Costs { import_ms, call_ms } = serde_json::from_slice(&output.stdout)?;
    report.add(
        "sdk_import_ms",
        import_ms,
        "ms",
        "processor time of `import pyro_mcp; pyro_mcp.Pyro()` in a fresh interpreter, less one that does nothing",
    );
    report.add(
        "sdk_call_overhead_ms",
        call_ms,
        "ms",
        "`Pyro.status_daemon`, less the same bytes over a bare socket",
    );
    Ok(())
}
