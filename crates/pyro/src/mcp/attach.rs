//! Calls that are the same. A client that gave up, or lost its server, asks again; what it asked for then must not run
//! twice at once.
//!
//! With an idempotency key of the caller's a command runs once, ever. Without one, a call attaches to an identical command
//! that still runs. Nothing of that is remembered here: the key that a command is given says what was asked, the daemon
//! keeps it, and so a call attaches also when another server began the command.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use pyro_api::{
    Client, ErrorBody, ErrorCode,
    operation::ListJobs,
    workspace::{exec::WorkspaceExecRequest, job::JobListRequest},
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Begins the keys that are given here.
const PREFIX: &str = "mcp";

/// Lets identical calls of this server begin one after the other, so that the second finds the first.
#[derive(Debug, Default)]
pub(super) struct Identical(Mutex<HashMap<u64, Weak<Turn<()>>>>);

impl Identical {
    /// Waits until no identical call is being begun. Other calls are not held up.
    pub(super) async fn beginning(&self, request: &WorkspaceExecRequest) -> OwnedMutexGuard<()> {
        self.turn(digest(request)).lock_owned().await
    }

    fn turn(&self, digest: u64) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(digest, Arc::downgrade(&turn));
        turn
    }

    /// The request with a key: the caller's, that of an identical command which runs, or one of its own.
    pub(super) async fn keyed(
        &self,
        client: &Client,
        request: &WorkspaceExecRequest,
    ) -> Result<WorkspaceExecRequest, ErrorBody> {
        if request.idempotency_key.is_some() {
            return Ok(request.clone());
        }
        let beginning = format!("{PREFIX}-{:016x}-", digest(request));
        let running = JobListRequest { workspace: request.workspace.clone(), running: true };
        let jobs = client.call::<ListJobs>(&running).await?.jobs;
        let mut keys = jobs.into_iter().rev().filter_map(|job| job.idempotency_key);
        let key = match keys.find(|key| key.starts_with(&beginning)) {
            Some(key) => key,
            None => format!("{beginning}{}", random_hex()?),
        };
        Ok(WorkspaceExecRequest { idempotency_key: Some(key), ..request.clone() })
    }
}

/// Of all that is asked. Two requests of one digest that differ are refused by the daemon, which compares them.
fn digest(request: &WorkspaceExecRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.workspace.hash(&mut hasher);
    request.command.to_argv().hash(&mut hasher);
    request.cwd_in_guest().hash(&mut hasher);
    request.env.hash(&mut hasher);
    request.user.hash(&mut hasher);
    request.timeout().hash(&mut hasher);
    hasher.finish()
}

pub(super) fn random_hex() -> Result<String, ErrorBody> {
    let mut bytes = [0_u8; 16];
    let read = std::fs::File::open("/dev/urandom")
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut bytes));
    read.map_err(|error| {
        ErrorBody::new(ErrorCode::HostRequirement, format!("cannot read /dev/urandom: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use pyro_api::{run::CommandLine, workspace::identity::WorkspaceRef};

    use super::*;

    fn request(command: &str) -> WorkspaceExecRequest {
        let workspace = WorkspaceRef::new("a").unwrap();
        WorkspaceExecRequest::new(workspace, CommandLine::Shell(command.into()))
    }

    #[test]
    fn all_that_is_asked_makes_a_call_another() {
        let same = digest(&request("true"));
        assert_eq!(same, digest(&request("true")));
        for other in [
            request("false"),
            WorkspaceExecRequest { cwd: Some("src".into()), ..request("true") },
            WorkspaceExecRequest { timeout_seconds: Some(1), ..request("true") },
            WorkspaceExecRequest { env: [("A".to_owned(), "b".into())].into(), ..request("true") },
            WorkspaceExecRequest { workspace: WorkspaceRef::new("b").unwrap(), ..request("true") },
        ] {
            assert_ne!(same, digest(&other), "{other:?}");
        }
    }

    #[tokio::test]
    async fn only_identical_calls_wait_for_each_other() {
        let identical = Identical::default();
        let first = identical.beginning(&request("true")).await;
        let _other = identical.beginning(&request("false")).await;
        assert!(identical.turn(digest(&request("true"))).try_lock_owned().is_err());
        drop(first);
        assert!(identical.turn(digest(&request("true"))).try_lock_owned().is_ok());
    }
}
