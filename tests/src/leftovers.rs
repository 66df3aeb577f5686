//! Finds what a home has left behind: directories of machines, and processes that still have to do with it.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Directories in the directory of all machines.
pub(crate) fn machine_directories(machines: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(machines) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Processes, other than this one, whose command line, environment, working directory or open files name
/// something below `directory`.
pub(crate) fn processes_of(directory: &Path) -> Vec<(u32, String)> {
    let own = std::process::id();
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && names(*pid, directory))
        .map(|pid| (pid, command_line(pid)))
        .collect()
}

fn names(pid: u32, directory: &Path) -> bool {
    let needle = directory.as_os_str().as_bytes();
    let process = PathBuf::from(format!("/proc/{pid}"));
    let text_names = |name| fs::read(process.join(name)).is_ok_and(|text| contains(&text, needle));
    let links_to = |link: PathBuf| {
        fs::read_link(link).is_ok_and(|target| contains(target.as_os_str().as_bytes(), needle))
    };
    text_names("cmdline")
        || text_names("environ")
        || links_to(process.join("cwd"))
        || fs::read_dir(process.join("fd")).is_ok_and(|fds| fds.flatten().any(|fd| links_to(fd.path())))
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

fn command_line(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_found_by_its_environment_and_by_its_open_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = fs::File::create(directory.path().join("held")).unwrap();
        let mut by_variable =
            Command::new("sleep").arg("1000").env("SOME_HOME", directory.path()).spawn().unwrap();
        let mut by_file = Command::new("sleep").arg("1000").stdin(Stdio::from(file)).spawn().unwrap();
        let found: Vec<u32> = processes_of(directory.path()).into_iter().map(|(pid, _)| pid).collect();
        for child in [&mut by_variable, &mut by_file] {
            assert!(found.contains(&child.id()), "{found:?}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(processes_of(directory.path()).is_empty());
    }
}
