//! Telling a client that waits how far its call has come, if it asked to be told.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
};

/// How often a call that waits says that it does.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Where progress of one call goes.
#[derive(Debug, Default)]
pub(super) struct Progress {
    listener: Option<(Peer<RoleServer>, ProgressToken)>,
    step: AtomicU32,
}

impl Progress {
    /// To that client, under the token that it gave.
    pub(super) fn to(peer: Peer<RoleServer>, token: Option<ProgressToken>) -> Self {
        Self { listener: token.map(|token| (peer, token)), step: AtomicU32::new(0) }
    }

    /// Says one more thing. A client that does not hear it is no reason to end the work.
    pub(super) async fn tell(&self, message: impl Into<String>) {
        let Some((peer, token)) = &self.listener else { return };
        let step = self.step.fetch_add(1, Ordering::Relaxed) + 1;
        let told = ProgressNotificationParam::new(token.clone(), f64::from(step)).with_message(message);
        let _heard = peer.notify_progress(told).await;
    }
}
