//! Who runs things: the person who started this program, or an unprivileged account named by root.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// Variables that a program run as somebody else still needs.
const PASSED_ON: &[&str] =
    &["PATH", "LANG", "LC_ALL", "TERM", "CI", "RUST_BACKTRACE", "http_proxy", "https_proxy", "no_proxy"];

/// An account of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    /// Login name.
    pub(crate) name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl Account {
    /// Who runs this program.
    pub(crate) fn current() -> Result<Self> {
        Self::lookup(&effective_uid()?.to_string())
    }

    /// An unprivileged account by name.
    pub(crate) fn unprivileged(name: &str) -> Result<Self> {
        let account = Self::lookup(name)?;
        ensure!(account.uid != 0, "`{name}` is root; name an ordinary account");
        Ok(account)
    }

    /// Who runs what must not run as root: the person itself, or, when root started this, the account that was
    /// named, or the person who called `sudo`. Nothing is ever made here.
    pub(crate) fn ordinary(named: Option<&str>) -> Result<Self> {
        let current = Self::current()?;
        if !current.is_root() {
            ensure!(
                named.is_none_or(|name| name == current.name),
                "only root can run tests under another account; leave `--account` out"
            );
            return Ok(current);
        }
        if let Some(name) = named {
            return Self::unprivileged(name);
        }
        match std::env::var("SUDO_USER") {
            Ok(name) if name != "root" => Self::unprivileged(&name),
            _ => bail!(
                "started by root, and the guest-backed suite runs under an unprivileged account: name one with \
                 `cargo xtask test --account NAME` (`useradd --create-home NAME` makes one, with subordinate ids); \
                 nothing was created"
            ),
        }
    }

    /// Whether it is root.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Where tests keep the environments that they share, from one run to the next.
    pub(crate) fn test_home(&self) -> PathBuf {
        self.home.join(".cache/pyro-tests")
    }

    /// A command run by this account: with its home and groups and, if it is somebody else, with a clean environment.
    pub(crate) fn command(&self, program: &Path) -> Result<Command> {
        if *self == Self::current()? {
            return Ok(Command::new(program));
        }
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        command.args(["--init-groups", "--inh-caps=-all", "--"]).arg(program);
        command.env_clear().current_dir("/");
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        let runtime = PathBuf::from(format!("/run/user/{}", self.uid));
        if runtime.is_dir() {
            command.env("XDG_RUNTIME_DIR", runtime);
        }
        Ok(command)
    }

    /// The same for tests, some of which interrupt themselves: whoever started this may ignore interrupts, as the shell of a
    /// background job does.
    pub(crate) fn test_command(&self, program: &Path) -> Result<Command> {
        let mut command = self.command(Path::new("/usr/bin/env"))?;
        command.arg("--default-signal=HUP,INT,QUIT,TERM").arg(program);
        Ok(command)
    }

    fn lookup(name_or_uid: &str) -> Result<Self> {
        let output = Command::new("getent").args(["passwd", name_or_uid]).output().context("run getent")?;
        let line = String::from_utf8_lossy(&output.stdout);
        Self::parse(line.trim()).with_context(|| format!("there is no account `{name_or_uid}`"))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1)?.into();
        Some(Self { name, uid, gid, home })
    }
}

/// Effective user id of this program.
fn effective_uid() -> Result<u32> {
    Ok(std::fs::metadata("/proc/self").context("look at /proc/self")?.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_an_account() {
        let account = Account::parse("joe:x:1001:1002:Joe:/home/joe:/bin/sh").unwrap();
        assert_eq!((account.uid, account.gid, account.is_root()), (1001, 1002, false));
        assert_eq!(account.test_home(), Path::new("/home/joe/.cache/pyro-tests"));
        assert!(Account::parse("").is_none());
    }

    #[test]
    fn root_is_not_unprivileged() {
        assert!(Account::unprivileged("root").is_err());
        assert!(Account::unprivileged("no such account").is_err());
    }
}
