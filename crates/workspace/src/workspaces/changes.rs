//! Counts what changes in a workspace, so that whoever waits for a change need not ask again and again.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// How far a workspace has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revision {
    /// Grows with every change.
    pub last: u64,
    /// The revision when a command last began or ended.
    pub commands: u64,
    /// The revision when files may have changed last.
    pub files: u64,
}

/// The revision of one workspace.
#[derive(Debug)]
pub(crate) struct Changes(watch::Sender<Revision>);

impl Default for Changes {
    /// Begins with the time, microseconds since 1970: behind all that an earlier daemon can have counted, if the
    /// clock was not set back between the two.
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = u64::try_from(since.as_micros()).unwrap_or_default();
        Self(watch::Sender::new(Revision { last, commands: last, files: last }))
    }
}

impl Changes {
    /// For whoever waits; ends with the workspace.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.0.subscribe()
    }

    /// It has another state.
    pub(crate) fn of_state(&self) {
        self.0.send_modify(|revision| revision.last += 1);
    }

    /// A command began.
    pub(crate) fn of_commands(&self) {
        self.0.send_modify(|revision| {
            revision.last += 1;
            revision.commands = revision.last;
        });
    }

    /// Files may have changed.
    pub(crate) fn of_files(&self) {
        self.0.send_modify(|revision| {
            revision.last += 1;
            revision.files = revision.last;
        });
    }

    /// A command ended, and may have changed files.
    pub(crate) fn of_commands_and_files(&self) {
        self.0.send_modify(|revision| {
            revision.last += 1;
            revision.commands = revision.last;
            revision.files = revision.last;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_from_others() {
        let changes = Changes::default();
        let first = *changes.subscribe().borrow();
        changes.of_state();
        changes.of_commands();
        changes.of_files();
        let third = *changes.subscribe().borrow();
        assert_eq!(
            (third.last, third.commands, third.files),
            (first.last + 3, first.last + 2, first.last + 3)
        );
        changes.of_commands_and_files();
        let last = *changes.subscribe().borrow();
        assert_eq!((last.commands, last.files), (last.last, last.last));
    }
}
