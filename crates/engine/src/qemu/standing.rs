//! Whether a machine runs, and why not.
//!
//! QEMU's events only say *when* to look: they are lost while nobody is connected, and newer releases hold some of them
//! back. What is so is asked each time, by the same question after an event, a command and an adoption.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use serde_json::Value;
use tokio::sync::watch;

use crate::{
    Stall, StallCause,
    qmp::{Command, Qmp, QmpError},
};

/// What was seen of a machine's standing still.
#[derive(Debug)]
pub(super) struct Standing {
    seen: watch::Receiver<Option<Stall>>,
    /// Gone with the control connection, which ends every receiver.
    sender: Mutex<Option<watch::Sender<Option<Stall>>>>,
    /// So that an older answer never replaces a newer one.
    asking: tokio::sync::Mutex<()>,
    /// A pause is the engine's own and soon over: nobody is to be told of it.
    briefly: AtomicBool,
}

impl Standing {
    /// Of a machine that runs.
    pub(super) fn running() -> Self {
        let (sender, seen) = watch::channel(None);
        Self {
            seen,
            sender: Mutex::new(Some(sender)),
            asking: tokio::sync::Mutex::default(),
            briefly: AtomicBool::new(false),
        }
    }

    /// What was seen last, and every change.
    pub(super) fn seen(&self) -> watch::Receiver<Option<Stall>> {
        self.seen.clone()
    }

    /// Asks QEMU and notes the answer.
    pub(super) async fn look(&self, control: &Qmp) -> Result<(), QmpError> {
        let _one_at_a_time = self.asking.lock().await;
        let cause = ask(control).await?;
        if cause != Some(StallCause::Paused) || !self.briefly.load(Ordering::Relaxed) {
            self.note(cause);
        }
        Ok(())
    }

    /// From now on a pause is not told, until [`Self::tell`].
    pub(super) fn pause_briefly(&self) {
        self.briefly.store(true, Ordering::Relaxed);
    }

    /// Notes what is so again.
    pub(super) async fn tell(&self, control: &Qmp) -> Result<(), QmpError> {
        // A look that began during the pause ends before.
        let asking = self.asking.lock().await;
        self.briefly.store(false, Ordering::Relaxed);
        drop(asking);
        self.look(control).await
    }

    /// Notes that there is nothing to be seen any more.
    pub(super) fn end(&self) {
        self.note(None);
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn note(&self, cause: Option<StallCause>) {
        if let Some(sender) = &*self.sender.lock().unwrap_or_else(PoisonError::into_inner) {
            sender.send_if_modified(|stall| {
                let changed = stall.map(|stall| stall.cause) != cause;
                if changed {
                    *stall = cause.map(|cause| Stall { cause, since: SystemTime::now() });
                }
                changed
            });
        }
    }
}

/// Why the machine stands still, as QEMU says now.
pub(super) async fn ask(control: &Qmp) -> Result<Option<StallCause>, QmpError> {
    let status = control.execute(Command::QueryStatus {}).await?;
    Ok(match status.get("status").and_then(Value::as_str).unwrap_or_default() {
        // One that shuts down is as good as gone.
        "running" | "shutdown" => None,
        "io-error" => Some(disk_failure(&control.execute(Command::QueryBlock {}).await?)),
        "internal-error" | "guest-panicked" => Some(StallCause::Broken),
        _ => Some(StallCause::Paused),
    })
}

/// What keeps the disk from doing what the guest wants, while the machine stands still for whatever reason.
pub(super) async fn ask_disk(control: &Qmp) -> Result<Option<StallCause>, QmpError> {
    let drives = control.execute(Command::QueryBlock {}).await?;
    let failed = drives
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|drive| drive.get("io-status")?.as_str())
        .any(|condition| condition != "ok");
    Ok(failed.then(|| disk_failure(&drives)))
}

/// A disk that is full and one that fails at once count as the one that fails: room alone would not help.
fn disk_failure(drives: &Value) -> StallCause {
    let mut conditions =
        drives.as_array().into_iter().flatten().filter_map(|drive| drive.get("io-status")?.as_str());
    if conditions.clone().any(|condition| condition == "nospace")
        && conditions.all(|condition| condition != "failed")
    {
        StallCause::DiskFull
    } else {
        StallCause::DiskFailed
    }
}

#[cfg(test)]
mod tests {
    use qapi::qmp::BlockDeviceIoStatus::{self, failed, nospace, ok};
    use serde_json::json;

    use super::*;

    #[test]
    fn room_is_what_lacks_only_when_no_drive_lacks_more() {
        let cause = |conditions: &[BlockDeviceIoStatus]| {
            disk_failure(&conditions.iter().map(|condition| json!({ "io-status": condition })).collect())
        };
        assert_eq!(cause(&[ok, nospace]), StallCause::DiskFull);
        assert_eq!(cause(&[ok, failed]), StallCause::DiskFailed);
        assert_eq!(cause(&[nospace, failed]), StallCause::DiskFailed);
        assert_eq!(disk_failure(&json!([{ "device": "" }])), StallCause::DiskFailed);
    }

    #[test]
    fn a_change_of_cause_is_seen_once_and_the_end_ends_the_waiting() {
        let standing = Standing::running();
        let mut seen = standing.seen();
        standing.note(Some(StallCause::DiskFull));
        let first = *seen.borrow_and_update();
        assert_eq!(first.unwrap().cause, StallCause::DiskFull);
        standing.note(Some(StallCause::DiskFull));
        assert!(!seen.has_changed().unwrap());
        standing.end();
        assert!(seen.has_changed().is_err());
        assert_eq!(*seen.borrow(), None);
    }
}
