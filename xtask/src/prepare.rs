//! `prepare`: sees to what the host needs. As root it installs; otherwise it prints the line to run and stops.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{account::Account, step};

/// A program, or a file, and the package of Debian and its kin that brings it.
const NEEDS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("newuidmap", "uidmap"),
    ("newgidmap", "uidmap"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("git", "git"),
    ("patch", "patch"),
    ("diff", "diffutils"),
    ("tar", "tar"),
    ("zstd", "zstd"),
    ("cc", "gcc"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
];

/// Where programs are, also for people whose `PATH` lacks the system ones.
const SYSTEM_PATH: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How many subordinate ids an account needs to hold a whole system.
const SUBORDINATE_IDS: u32 = 65_536;

/// Entry of the task, for whoever runs it.
pub(crate) fn run() -> Result<()> {
    prepare_for(&Account::current()?)
}

/// Makes sure that `account` can make environments and run machines here. Silent when nothing is missing.
pub(crate) fn prepare_for(account: &Account) -> Result<()> {
    let missing = missing_packages();
    let current = Account::current()?;
    if !missing.is_empty() {
        if !current.is_root() {
            bail!("this host lacks some programs; run\n\n    sudo {}\n", install_line(&missing));
        }
        install(&missing)?;
    }
    if account.is_root() {
        return Ok(());
    }
    let lines: Vec<String> =
        ["uid", "gid"].into_iter().filter_map(|kind| missing_subordinates(kind, &account.name)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    bail!(
        "`{}` has no subordinate ids, without which it cannot make environments; run\n\n    sudo usermod {} {}\n",
        account.name,
        lines.join(" "),
        account.name
    )
}

/// How often packages are asked for: one that conflicts with an installed one removes it, and what that one brought is
/// missing only then.
const INSTALLATIONS: usize = 2;

fn install(missing: &BTreeSet<&str>) -> Result<()> {
    if !exists("apt-get") {
        bail!("this host has no apt-get; install what brings {}", programs(missing).join(", "));
    }
    let mut missing = missing.clone();
    for _ in 0..INSTALLATIONS {
        install_once(&missing)?;
        missing = missing_packages();
        if missing.is_empty() {
            return Ok(());
        }
    }
    bail!("still missing after the installation: {}", programs(&missing).join(", "))
}

fn install_once(missing: &BTreeSet<&str>) -> Result<()> {
    let install = || {
        let mut apt = apt();
        apt.args(["install", "--no-install-recommends", "-y"]).args(missing);
        apt
    };
    // Package lists may be absent or so old that they name files that are gone.
    if step::run(&install_line(missing), &mut install()).is_err() {
        step::run("apt-get update", apt().arg("update"))?;
        step::run(&install_line(missing), &mut install())?;
    }
    Ok(())
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
    apt
}

fn install_line(missing: &BTreeSet<&str>) -> String {
    let packages: Vec<&str> = missing.iter().copied().collect();
    format!("apt-get install --no-install-recommends -y {}", packages.join(" "))
}

fn missing_packages() -> BTreeSet<&'static str> {
    NEEDS.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect()
}

fn programs(packages: &BTreeSet<&str>) -> Vec<&'static str> {
    NEEDS.iter().filter(|(_, package)| packages.contains(package)).map(|(program, _)| *program).collect()
}

fn exists(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_PATH.iter().map(Into::into))
        .any(|directory| directory.join(program).is_file())
}

/// The option of `usermod` that gives `name` the subordinate ids it lacks.
fn missing_subordinates(kind: &str, name: &str) -> Option<String> {
    let path = format!("/etc/sub{kind}");
    let table = fs::read_to_string(Path::new(&path)).unwrap_or_default();
    free_range(&table, name).map(|(first, last)| format!("--add-sub{kind}s {first}-{last}"))
}

/// `None` when `name` has enough; else the first range that nobody has.
fn free_range(table: &str, name: &str) -> Option<(u32, u32)> {
    let mut first_free = 100_000;
    for line in table.lines() {
        let Ok((owner, start, count)) = parse_range(line) else { continue };
        if owner == name && count >= SUBORDINATE_IDS {
            return None;
        }
        first_free = first_free.max(start.saturating_add(count));
    }
    Some((first_free, first_free + SUBORDINATE_IDS - 1))
}

fn parse_range(line: &str) -> Result<(&str, u32, u32)> {
    let mut fields = line.trim().split(':');
    let owner = fields.next().context("no owner")?;
    let start = fields.next().context("no start")?.parse()?;
    let count = fields.next().context("no count")?.parse()?;
    Ok((owner, start, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_ids_is_offered_the_next_free_range() {
        let table = "ann:100000:65536\nbob:165536:1000\n";
        assert_eq!(free_range(table, "ann"), None);
        assert_eq!(free_range(table, "bob"), Some((166_536, 232_071)));
        assert_eq!(free_range("", "joe"), Some((100_000, 165_535)));
        assert_eq!(free_range("rubbish\n", "joe"), Some((100_000, 165_535)));
    }

    #[test]
    fn every_program_names_its_package() {
        let all: BTreeSet<&str> = NEEDS.iter().map(|(_, package)| *package).collect();
        assert_eq!(programs(&all).len(), NEEDS.len());
        assert!(install_line(&BTreeSet::from(["uidmap", "git"])).ends_with("-y git uidmap"));
    }
}
