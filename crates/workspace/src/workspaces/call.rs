//! The call that a one-shot machine is made for, so that the same call, made again, is known.
//!
//! With a key of the caller's a machine is made once, ever: the key outlives it, with what became of its command. Without
//! one, a call that asks for the same gets the machine of the first as long as that one's command has not ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::WorkspaceRecord;
use crate::commands::CommandRecord;

/// Bytes that are kept of each output of a command whose machine is gone: its end.
pub(crate) const KEPT_BYTES: u64 = 64 << 10;

/// What a one-shot machine is made for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The caller's name for it.
    pub key: Option<String>,
    /// Digest over everything that was asked.
    pub digest: String,
}

impl Call {
    /// A call that asked for this.
    pub fn new(key: Option<String>, asked: &[u8]) -> Self {
        let digest = Sha256::digest(asked).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { key, digest }
    }
}

/// The machine that a call gets.
#[derive(Debug)]
pub enum Called<M> {
    /// It was made.
    Made(M),
    /// An earlier call made it.
    Found(M),
    /// An earlier call made it, and it is gone.
    Gone(Box<KeptCommand>),
}

/// What is kept of a call whose machine is gone.
#[derive(Clone, PartialEq, Debug)]
pub struct KeptCommand {
    /// The machine, as it was last written down.
    pub machine: WorkspaceRecord,
    /// Its command.
    pub command: CommandRecord,
    /// The end of its standard output; none if that is not kept any more.
    pub stdout: Option<Vec<u8>>,
    /// The end of its standard error.
    pub stderr: Option<Vec<u8>>,
}

/// What the store knows of a key.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct KnownCall {
    /// What was asked.
    pub(crate) digest: String,
    /// The machine that was made.
    pub(crate) machine: String,
    /// What became of it, if it is gone.
    pub(crate) kept: Option<KeptCommand>,
}

/// Lets calls that may be the same begin one after the other, so that the second finds what the first made.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Call, Weak<Turn<()>>>>);

impl Turns {
    /// Waits until no call that may be the same is being begun. Others are not held up.
    pub(super) async fn take(&self, call: &Call) -> OwnedMutexGuard<()> {
        self.turn(call).lock_owned().await
    }

    fn turn(&self, call: &Call) -> Arc<Turn<()>> {
        let same = match &call.key {
            // Another call under the same key is refused, but for that it has to see the first.
            Some(_) => Call { digest: String::new(), ..call.clone() },
            None => call.clone(),
        };
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&same).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(same, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(key: Option<&str>, digest: &str) -> Call {
        Call { key: key.map(str::to_owned), digest: digest.to_owned() }
    }

    #[tokio::test]
    async fn only_calls_that_may_be_the_same_wait_for_each_other() {
        let turns = Turns::default();
        let _first = turns.take(&call(None, "a")).await;
        let keyed = turns.take(&call(Some("k"), "a")).await;
        let _other = turns.take(&call(None, "b")).await;
        assert!(turns.turn(&call(None, "a")).try_lock_owned().is_err());
        assert!(turns.turn(&call(Some("k"), "b")).try_lock_owned().is_err());
        drop(keyed);
        assert!(turns.turn(&call(Some("k"), "b")).try_lock_owned().is_ok());
    }
}
