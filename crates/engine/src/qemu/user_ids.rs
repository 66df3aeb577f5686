//! User ids for machines, each used by at most one live machine process.
//!
//! An id is free again when its process has been *seen* to have ended, not when a handle of the machine goes away: the
//! machine outlives its handle, and two machines of one user could read each other.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    EngineError, MachineId,
    process::{ProcessHandle, has_ended},
};

/// Who uses an id.
#[derive(Debug)]
enum User {
    /// A machine that has no process yet.
    Starting,
    /// The process of this pidfd, until it has ended.
    Process(OwnedFd),
}

type Taken = Arc<Mutex<HashMap<u32, User>>>;

fn lock(taken: &Taken) -> MutexGuard<'_, HashMap<u32, User>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ids of a range and who uses them.
#[derive(Debug)]
pub(super) struct UserIds {
    range: Option<Range<u32>>,
    taken: Taken,
}

/// An id for a process to come: free again when this is dropped, unless [`UserId::give`] gave it to a process.
#[derive(Debug)]
pub(super) struct UserId {
    number: Option<u32>,
    taken: Taken,
}

impl UserIds {
    /// Of no range, and for everybody but root, machines get no id of their own.
    pub(super) fn new(range: Option<Range<u32>>) -> Self {
        let range = range.filter(|_| rustix::process::geteuid().is_root());
        Self { range, taken: Arc::default() }
    }

    /// Takes one, by preference always the same for the same machine.
    pub(super) fn take(&self, id: &MachineId) -> Result<UserId, EngineError> {
        let Some(range) = self.range.clone() else {
            return Ok(UserId { number: None, taken: self.taken.clone() });
        };
        let count = range.end.saturating_sub(range.start);
        let first = u32::try_from(id.number() % u64::from(count.max(1))).unwrap_or(0);
        let mut taken = lock(&self.taken);
        taken.retain(|_, user| !matches!(user, User::Process(pidfd) if has_ended(pidfd)));
        let number = (0..count)
            .map(|step| range.start + (first + step) % count)
            .find(|number| !taken.contains_key(number))
            .ok_or(EngineError::NoUserId { count })?;
        taken.insert(number, User::Starting);
        Ok(UserId { number: Some(number), taken: self.taken.clone() })
    }

    /// Notes the id that an adopted machine has already.
    pub(super) fn note(&self, number: u32, process: &ProcessHandle) -> io::Result<()> {
        let user = User::Process(process.pidfd()?);
        lock(&self.taken).insert(number, user);
        Ok(())
    }
}

impl UserId {
    pub(super) fn number(&self) -> Option<u32> {
        self.number
    }

    /// Leaves the id to a process until that has ended.
    pub(super) fn give(self, process: &ProcessHandle) -> io::Result<()> {
        if let Some(number) = self.number {
            let user = User::Process(process.pidfd()?);
            lock(&self.taken).insert(number, user);
        }
        Ok(())
    }
}

impl Drop for UserId {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(number) = self.number
            && matches!(taken.get(&number), Some(User::Starting))
        {
            taken.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[tokio::test]
    async fn an_id_is_free_again_when_its_process_has_ended_and_not_before() {
        // Not by `new`, which gives ids to root only.
        let ids = UserIds { range: Some(900_000..900_001), taken: Arc::default() };
        let machine = MachineId::from_bytes([1; 6]);
        drop(ids.take(&machine).unwrap());
        let id = ids.take(&machine).unwrap();
        assert!(matches!(ids.take(&machine), Err(EngineError::NoUserId { count: 1 })));

        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let process = ProcessHandle::new(child.id(), pidfd).unwrap().keep();
        id.give(&process).unwrap();
        drop(process);
        assert!(matches!(ids.take(&machine), Err(EngineError::NoUserId { .. })), "it lives on");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ids.take(&machine).unwrap().number(), Some(900_000));
    }
}
