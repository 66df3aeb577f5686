//! One test's world: a `PYRO_HOME` of its own, its daemon, its machines.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    ENVIRONMENT, Invocation, LiveMachine, Process, Settings, Signal, leftovers,
    slots::Slot,
    wait_until,
    warm::{self, Warm},
};

/// Where programs are found; without the caller's own directories, so that tests do not depend on them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a killed or ended thing may take to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take until a machine is begun for which others may have to be read or written first.
const BEGINNING: Duration = Duration::from_secs(60);

/// A hermetic home. Dropping it stops its daemon and asserts that nothing is left.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    pyro: PathBuf,
    environments: PathBuf,
    tolerates: AtomicBool,
    _slot: Option<Slot>,
}

/// How long a process that is ending anyway may take.
const ENDING: Duration = Duration::from_secs(5);

impl Home {
    /// A home with the environment installed and its template built: the usual case, and the fast one.
    pub fn warm() -> Self {
        let warm = warm::warm();
        let home = Self::cold();
        warm.give_templates(&home.templates());
        home
    }

    /// A home with the environment installed and no template.
    pub fn cold() -> Self {
        let warm = warm::warm();
        Self::with_environments(warm.environments.clone())
    }

    /// A home with nothing at all; no machine can start in it before an environment is made.
    pub fn bare() -> Self {
        let mut home = Self::with_environments(PathBuf::new());
        home.environments = home.directory.path().join("environments");
        home
    }

    /// A home with the template and with a copy of the environment that the test may damage; what an earlier release made is
    /// not in it.
    pub fn with_own_environment() -> Self {
        let mut home = Self::warm();
        let own = home.directory.path().join("environments");
        warm::link_tree(&home.environments, &own);
        home.environments = own;
        home.pyro(["env", "prune"]).output().succeeds();
        home
    }

    /// A warm home whose `PYRO_HOME` has a path of this many characters.
    pub fn with_path_of(length: usize) -> Self {
        let mut home = Self::cold();
        let mut path = home.directory.path().to_owned();
        while path.as_os_str().len() + 1 < length {
            let room = length - path.as_os_str().len() - 1;
            path.push("d".repeat(if room > 101 { 100 } else { room }));
        }
        assert_eq!(path.as_os_str().len(), length, "{}", path.display());
        home.pyro = path;
        warm::warm().give_templates(&home.templates());
        home
    }

    /// A warm home whose `PYRO_HOME` ends in this name.
    pub fn with_path_named(name: &str) -> Self {
        let mut home = Self::cold();
        home.pyro = home.directory.path().join(name);
        warm::warm().give_templates(&home.templates());
        home
    }

    /// The home in which [`warm`] makes what the others start from.
    pub(crate) fn for_warming(warm: &Warm) -> Self {
        let mut home = Self::unbounded(warm.environments.clone());
        home.pyro.clone_from(&warm.home);
        home
    }

    fn with_environments(environments: PathBuf) -> Self {
        let slot = Slot::take();
        let mut home = Self::unbounded(environments);
        home._slot = Some(slot);
        home
    }

    fn unbounded(environments: PathBuf) -> Self {
        let homes = warm::place_of_homes();
        let directory =
            tempfile::Builder::new().prefix("h").tempdir_in(&homes).expect("a directory for a home");
        let pyro = directory.path().join("pyro");
        fs::create_dir(directory.path().join("user")).expect("a directory for the user's home");
        Self { directory, pyro, environments, tolerates: AtomicBool::new(false), _slot: None }
    }

    /// `pyro WORDS`.
    pub fn pyro(&self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        Invocation::new(self, words)
    }

    /// `pyro run debian:12 -- COMMAND`.
    pub fn run(&self, command: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        self.pyro(["run", ENVIRONMENT]).command(command)
    }

    /// `pyro run debian:12 -- sh -c SCRIPT`.
    pub fn sh(&self, script: &str) -> Invocation {
        self.run(["sh", "-c", script])
    }

    /// Says that this test makes the daemon log errors, or a machine boot that should have been restored.
    pub fn tolerate_errors_in_the_log(&self) {
        self.tolerates.store(true, Ordering::Relaxed);
    }

    /// The value of `PYRO_HOME`.
    pub fn path(&self) -> &Path {
        &self.pyro
    }

    /// A directory of this test's own beside `PYRO_HOME`.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of installed environments.
    pub fn environments(&self) -> &Path {
        &self.environments
    }

    /// The directory of templates.
    pub fn templates(&self) -> PathBuf {
        self.pyro.join("data/templates")
    }

    /// The directory of machines.
    pub fn machines_directory(&self) -> PathBuf {
        self.pyro.join("data/machines")
    }

    /// The directory of sockets.
    pub fn runtime_directory(&self) -> PathBuf {
        self.pyro.join("run")
    }

    /// The daemon's log so far.
    pub fn log(&self) -> String {
        let read = |name| fs::read(self.pyro.join("data").join(name)).unwrap_or_default();
        let mut log = read("daemon.log.1");
        log.extend(read("daemon.log"));
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Installed templates, each a directory, in no order.
    pub fn installed_templates(&self) -> Vec<PathBuf> {
        let complete = |path: &PathBuf| path.join("template.json").exists();
        leftovers::machine_directories(&self.templates()).into_iter().filter(complete).collect()
    }

    /// The daemon, if one lives: the process that holds the daemon's lock.
    pub fn daemon(&self) -> Option<Process> {
        let lock = fs::metadata(self.pyro.join("data/daemon.lock")).ok()?;
        let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
        let inode = format!(":{}", lock.ino());
        let holder = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let held = !line.contains("->") && words.iter().any(|word| word.ends_with(&inode));
            if held { words.get(4)?.parse().ok() } else { None }
        };
        Process::find(locks.lines().find_map(holder)?)
    }

    /// Machines that live now.
    pub fn machines(&self) -> Vec<LiveMachine> {
        let directories = leftovers::machine_directories(&self.machines_directory());
        directories.iter().filter_map(|directory| LiveMachine::at(directory)).collect()
    }

    /// The one machine that lives now.
    #[track_caller]
    pub fn machine(&self) -> LiveMachine {
        let mut machines = self.machines();
        assert_eq!(machines.len(), 1, "machines alive: {machines:?}");
        machines.remove(0)
    }

    /// Waits until so many machines are begun. Nobody tells of it when one that is begun has come to life.
    #[track_caller]
    pub fn wait_until_begun(&self, count: usize) {
        let directory = self.machines_directory();
        wait_until("machines are begun", &directory, BEGINNING, || {
            leftovers::machine_directories(&directory).len() >= count
        });
    }

    /// Waits until no machine and no directory of one is there.
    #[track_caller]
    pub fn wait_until_nothing_is_left(&self) {
        let machines = self.machines();
        let directory = self.machines_directory();
        wait_until("no machine is left", &directory, PATIENCE, || {
            leftovers::machine_directories(&directory).is_empty()
        });
        for machine in machines {
            machine.assert_gone();
        }
    }

    /// Asserts that a plain run works in this home and restores its machine.
    #[track_caller]
    pub fn assert_works(&self) {
        let outcome = self.run(["echo", "fine"]).json().output().succeeds();
        let result = outcome.result();
        assert_eq!(result["stdout"], "fine\n", "{outcome}");
        assert_eq!(result["start"], "restored", "{outcome}");
    }

    /// Stops the daemon, if there is one, and waits for its end.
    #[track_caller]
    pub fn stop_daemon(&self) {
        if let Some(daemon) = self.daemon() {
            self.pyro(["daemon", "stop"]).output().succeeds();
            daemon.assert_ends("the stopped daemon");
        }
    }

    /// Kills the daemon, so that it can put nothing in order, and waits for its end.
    #[track_caller]
    pub fn kill_daemon(&self) {
        let daemon = self.daemon().expect("a daemon to kill");
        daemon.signal(Signal::KILL);
        daemon.assert_ends("the killed daemon");
    }

    pub(crate) fn variables(&self) -> Vec<(OsString, OsString)> {
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), PATH.into()),
            ("HOME".into(), self.directory.path().join("user").into()),
            ("PYRO_HOME".into(), self.pyro.clone().into()),
            ("PYRO_ENVIRONMENT_CACHE_DIR".into(), self.environments.clone().into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "dumb".into()),
            // Long enough for every test, short enough that a killed test leaves no daemon for long.
            ("PYRO_DAEMON_IDLE_SECONDS".into(), "120".into()),
        ];
        if let Some(guest) = &Settings::get().guest {
            variables.push(("PYRO_GUEST".into(), guest.clone().into()));
        }
        variables
    }

    /// Ends the daemon, by force if need be, and tells what is not as it must be.
    fn close(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(daemon) = self.daemon() {
            let stopped = self.pyro(["daemon", "stop"]).patience_s(60).output();
            if stopped.code() != 0 {
                complaints.push(format!("the daemon does not stop when it should be idle: {stopped}"));
            }
            if stopped.code() != 0 || !daemon.ends_within(PATIENCE) {
                complaints.push(format!("the daemon (pid {}) had to be killed", daemon.pid()));
                daemon.signal(Signal::KILL);
                daemon.assert_ends("the killed daemon");
            }
        }
        for directory in leftovers::machine_directories(&self.machines_directory()) {
            complaints.push(format!(
                "`{}` is left; it holds {:?}",
                directory.display(),
                names_in(&directory)
            ));
        }
        for (pid, command) in leftovers::processes_of(self.directory.path()) {
            let Some(process) = Process::find(pid) else { continue };
            // A daemon that has let go of its lock may still be giving its memory back.
            if !process.ends_within(ENDING) {
                complaints.push(format!("process {pid} is left: {command}"));
                process.signal(Signal::KILL);
            }
        }
        if !self.tolerates.load(Ordering::Relaxed) {
            let signs = ["ERROR", "panicked at", "booting instead"];
            let log = self.log();
            let bad = log.lines().filter(|line| signs.iter().any(|sign| line.contains(sign)));
            complaints.extend(bad.map(|line| format!("the daemon's log: {line}")));
        }
        complaints
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let complaints = self.close();
        if complaints.is_empty() {
            return;
        }
        let text = format!("the home was not left clean:\n- {}", complaints.join("\n- "));
        #[expect(clippy::print_stderr, reason = "the test has failed already: this is part of its report")]
        if std::thread::panicking() {
            eprintln!("{text}");
        } else {
            panic!("{text}");
        }
    }
}

fn names_in(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default()
}

/// Reads a member of a JSON object that must be a string.
#[track_caller]
pub fn text_of(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is no string in {value}")).to_owned()
}
