//! What holds a process together with all it starts: a control group in a machine, a process group where there
//! are none (tests in a process of their own).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Tasks in one control group when the host asks for no bound.
const DEFAULT_MAX_TASKS: u32 = 4096;
/// Where a control group, with all below it, is frozen by writing `1`, and let go on by writing `0`.
const FREEZE: &str = "cgroup.freeze";
/// How long frozen tasks are waited for: those that wait for a disk take as long as that does.
const STILL_PATIENCE: Duration = Duration::from_millis(100);

/// Where confinements come from.
#[derive(Debug)]
pub enum Confiner {
    /// A control group each, under a directory that is the agent's alone.
    ControlGroups(ControlGroups),
    /// A session and process group each: what leaves the group escapes.
    ProcessGroups,
}

impl Confiner {
    /// Control groups under `directory`.
    pub fn control_groups(directory: PathBuf) -> Self {
        Self::ControlGroups(ControlGroups { directory, next: 0, spare: None })
    }

    /// Makes the next confinement ahead of its use, when there is time: the kernel takes long for it, and longest in a
    /// restored machine of an emulating engine, where its code runs for the first time. Without a spare one
    /// [`Confiner::confine`] makes it then.
    pub fn prepare(&mut self) {
        if let Self::ControlGroups(groups) = self
            && groups.spare.is_none()
        {
            groups.spare = groups.make(DEFAULT_MAX_TASKS).ok();
        }
    }

    /// Freezes every task in its program. Returns when they stand still, or after a moment: one that the kernel is busy for stops
    /// before it goes on. Process groups are left alone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn freeze(&self) -> io::Result<()> {
        let Self::ControlGroups(groups) = self else { return Ok(()) };
        fs::write(groups.directory.join(FREEZE), "1")?;
        groups.stand_still()
    }

    /// Lets frozen tasks go on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn thaw(&self) -> io::Result<()> {
        match self {
            Self::ControlGroups(groups) => fs::write(groups.directory.join(FREEZE), "0"),
            Self::ProcessGroups => Ok(()),
        }
    }

    /// Makes an empty confinement. `max_tasks` 0 takes the default of 4096.
    ///
    /// # Errors
    /// The kernel's, when it gives no more control groups.
    pub fn confine(&mut self, max_tasks: u32) -> io::Result<Confinement> {
        match self {
            Self::ProcessGroups => Ok(Confinement::ProcessGroup),
            Self::ControlGroups(groups) => {
                let spare = groups.spare.take_if(|_| matches!(max_tasks, 0 | DEFAULT_MAX_TASKS));
                let group = match spare {
                    Some(group) => group,
                    None => groups.make(if max_tasks == 0 { DEFAULT_MAX_TASKS } else { max_tasks })?,
                };
                Ok(Confinement::ControlGroup(group))
            }
        }
    }
}

/// Numbered control groups in one directory.
#[derive(Debug)]
pub struct ControlGroups {
    /// For example `/sys/fs/cgroup/pyro`.
    directory: PathBuf,
    /// Number of the next one.
    next: u64,
    /// The next one, made ahead, with the default bound.
    spare: Option<ControlGroup>,
}

impl ControlGroups {
    /// Waits, not for long, until no task takes a step.
    fn stand_still(&self) -> io::Result<()> {
        let file = File::open(self.directory.join("cgroup.events"))?;
        let begun = Instant::now();
        let mut events = [0; 128];
        loop {
            let length = file.read_at(&mut events, 0)?;
            let mut lines = events.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
            let left = STILL_PATIENCE.saturating_sub(begun.elapsed());
            if lines.any(|line| line == b"frozen 1") || left.is_zero() {
                return Ok(());
            }
            // The kernel says that what was read has changed.
            let mut changed = [PollFd::new(&file, PollFlags::PRI)];
            match poll(&mut changed, Some(&Timespec::try_from(left).map_err(io::Error::other)?)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn make(&mut self, max_tasks: u32) -> io::Result<ControlGroup> {
        let directory = self.directory.join(self.next.to_string());
        self.next += 1;
        fs::create_dir(&directory)?;
        // Without the pids controller the group is still killed whole.
        let _unbounded = fs::write(directory.join("pids.max"), max_tasks.to_string());
        match OpenOptions::new().write(true).open(directory.join("cgroup.procs")) {
            Ok(entrance) => Ok(ControlGroup { directory, entrance }),
            Err(error) => {
                let _left = fs::remove_dir(&directory);
                Err(error)
            }
        }
    }
}

/// One control group.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    /// A child enters by writing `0`.
    entrance: File,
}

/// One process and all that it starts.
#[derive(Debug)]
pub enum Confinement {
    /// A control group.
    ControlGroup(ControlGroup),
    /// The process group of the first process.
    ProcessGroup,
}

impl Confinement {
    /// The file in which a child enters the confinement by writing `0`, if it is entered that way.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entrance(&self) -> io::Result<Option<File>> {
        match self {
            Self::ControlGroup(group) => group.entrance.try_clone().map(Some),
            Self::ProcessGroup => Ok(None),
        }
    }

    /// Sends a signal to every task; `leader` is the first process. With `KILL` nobody escapes a control group.
    ///
    /// # Errors
    /// The kernel's; nobody left to signal is none.
    pub fn signal(&self, leader: Pid, signal: Signal) -> io::Result<()> {
        match self {
            Self::ControlGroup(group) if signal == Signal::KILL => {
                fs::write(group.directory.join("cgroup.kill"), "1")
            }
            Self::ControlGroup(group) => signal_members(&group.directory, signal),
            Self::ProcessGroup => nobody_is_fine(kill_process_group(leader, signal)),
        }
    }

    /// Whether the kernel killed a task for want of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let Self::ControlGroup(group) = self else { return false };
        let events = fs::read_to_string(group.directory.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|count| count.trim() != "0")
    }

    /// Kills whoever is left of a process that has ended, and dissolves the confinement; false while a task is still
    /// dying in it. Nobody being left is the usual case and costs one system call.
    pub fn end(&self, leader: Pid) -> bool {
        if let Self::ControlGroup(group) = self
            && is_removed(&group.directory)
        {
            return true;
        }
        let _gone = self.signal(leader, Signal::KILL);
        self.dissolve()
    }

    /// Removes what the kernel keeps for it, and the groups that its tasks made inside it; false while a task is still
    /// dying in it.
    pub fn dissolve(&self) -> bool {
        match self {
            Self::ControlGroup(group) => {
                is_removed(&group.directory)
                    || groups_within(&group.directory).iter().rev().all(|group| is_removed(group))
            }
            Self::ProcessGroup => true,
        }
    }
}

/// Removes a group without tasks and groups; false if it has some.
fn is_removed(group: &Path) -> bool {
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// A group and all below it, each before those inside it.
fn groups_within(group: &Path) -> Vec<PathBuf> {
    let mut groups = vec![group.to_owned()];
    let mut index = 0;
    while let Some(group) = groups.get(index) {
        // One that vanishes meanwhile has nothing inside it.
        let entries: Vec<_> = fs::read_dir(group).into_iter().flatten().flatten().collect();
        let inner = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups.extend(inner.map(fs::DirEntry::path));
        index += 1;
    }
    groups
}

fn signal_members(group: &Path, signal: Signal) -> io::Result<()> {
    for group in groups_within(group) {
        // A threaded group lists nobody here: its processes are listed above it.
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)) {
            nobody_is_fine(kill_process(pid, signal))?;
        }
    }
    Ok(())
}

fn nobody_is_fine(outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_made_inside_are_dissolved_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("0");
        fs::create_dir_all(directory.join("a/b/c")).unwrap();
        fs::create_dir_all(directory.join("d")).unwrap();
        let entrance = File::open("/dev/null").unwrap();
        let confinement = Confinement::ControlGroup(ControlGroup { directory: directory.clone(), entrance });
        assert!(confinement.dissolve());
        assert!(!directory.exists());
        assert!(confinement.dissolve(), "gone already");
    }

    #[test]
    fn a_signal_reaches_the_members_of_inner_groups() {
        let group = tempfile::tempdir().unwrap();
        let inner = group.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(inner.join("cgroup.procs"), format!("{}\n", child.id())).unwrap();
        signal_members(group.path(), Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    }
}
