//! Where the repository and its build products are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Directory of everything that cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// Directory of the binaries of one profile.
pub(crate) fn binaries(profile: &str) -> PathBuf {
    target().join(directory_of(profile))
}

/// The same of a build that names its target.
pub(crate) fn binaries_for(triple: &str, profile: &str) -> PathBuf {
    target().join(triple).join(directory_of(profile))
}

fn directory_of(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Every file that is or could be committed, relative to the root, sorted.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let mut git = std::process::Command::new("git");
    // The checkout may belong to somebody else than root, who runs this.
    git.args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(root()).output().context("run git")?;
    anyhow::ensure!(
        output.status.success(),
        "list files: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}
