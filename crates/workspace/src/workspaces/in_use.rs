//! Who works in a workspace right now, so that it does not expire under them.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use super::live::{LiveMachine, Talk};
use crate::files::FileWorkers;

/// Counts the operations in a workspace's guest.
#[derive(Clone, Debug, Default)]
pub(super) struct UseCount(Arc<Uses>);

#[derive(Debug, Default)]
struct Uses {
    count: AtomicUsize,
    last_ended: Notify,
}

impl UseCount {
    /// One more; until what is returned is dropped.
    pub(super) fn begin(&self, live: Arc<LiveMachine>, talk: Talk) -> InUse {
        InUse { live, talk, _held: self.hold() }
    }

    /// One more that has nothing to do in the guest; until what is returned is dropped.
    pub(super) fn hold(&self) -> Held {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Held(Arc::clone(&self.0))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Resolves each time the last one ended.
    pub(super) async fn last_ended(&self) {
        self.0.last_ended.notified().await;
    }
}

/// The right to work in a workspace's guest. While it lives, the workspace is in use.
#[derive(Debug)]
pub(crate) struct InUse {
    live: Arc<LiveMachine>,
    /// As it was when it began.
    talk: Talk,
    _held: Held,
}

/// While it lives, the workspace is in use.
#[derive(Debug)]
pub(super) struct Held(Arc<Uses>);

impl InUse {
    /// The workers that do everything with files: those of the newest session.
    pub(crate) fn files(&self) -> FileWorkers {
        self.live.talk().map_or_else(|| self.talk.files.clone(), |talk| talk.files)
    }
}

impl Deref for InUse {
    type Target = LiveMachine;

    fn deref(&self) -> &LiveMachine {
        &self.live
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.last_ended.notify_one();
        }
    }
}
