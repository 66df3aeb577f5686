//! Telling clients when a resource that they asked to be told about has changed.
//!
//! Each subscription waits at the daemon, which answers when something changed in the workspace; nothing is asked again and
//! again. A file is told about when it is another one then. There is a bound on subscriptions, and each says no more than a
//! few words a second, however much happens meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyro_api::{
    Client, ErrorBody, ErrorCode, Output,
    operation::{StatFile, WaitForChange},
    workspace::{
        entry::FileEntry,
        files::FileStatRequest,
        identity::WorkspaceRef,
        wait::{WorkspaceRevision, WorkspaceWaitRequest},
    },
};
use rmcp::{
    ErrorData, Peer, RoleServer, model::ResourceUpdatedNotificationParam, service::SubscriptionContext,
};
use tokio::{sync::mpsc, task::AbortHandle};

use super::resources::Address;

/// Subscriptions of one client at once.
pub(super) const MOST_SUBSCRIPTIONS: usize = 64;

/// What changes within this time is told in one word.
const PAUSE: Duration = Duration::from_millis(200);
/// How long after the daemon was lost it is looked for again. Nothing tells that there is one, and none is started only to be
/// listened to.
const DAEMON_PAUSE: Duration = Duration::from_secs(1);

/// The subscriptions of a client that asks for each by itself, as revisions before 2026-07-28 do.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Mutex<HashMap<String, AbortHandle>>);

impl Subscriptions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        // Every change is one call on the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to tell about a resource. One that is told about already is told about once.
    pub(super) async fn subscribe(
        &self,
        client: &Client,
        peer: Peer<RoleServer>,
        uri: String,
    ) -> Result<(), ErrorData> {
        {
            let mut subscribed = self.lock();
            subscribed.retain(|_, watch| !watch.is_finished());
            if subscribed.contains_key(&uri) {
                return Ok(());
            }
            if subscribed.len() >= MOST_SUBSCRIPTIONS {
                let text = format!("there are {MOST_SUBSCRIPTIONS} subscriptions already; end one first");
                return Err(ErrorData::invalid_params(text, None));
            }
        }
        let watched = Watched::begin(client, &uri).await?;
        let watching = tokio::spawn(watched.follow(Listener::Peer(peer, uri.clone())));
        if let Some(other) = self.lock().insert(uri, watching.abort_handle()) {
            other.abort();
        }
        Ok(())
    }

    /// Ends to tell about a resource. One that nobody was told about is no failure.
    pub(super) fn unsubscribe(&self, uri: &str) {
        if let Some(watching) = self.lock().remove(uri) {
            watching.abort();
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.lock().values().for_each(AbortHandle::abort);
    }
}

/// Of the resources that a client asks for at once, those that are told about: what is an address, up to the bound.
pub(super) fn accepted(uris: &[String]) -> Vec<String> {
    let addresses = uris.iter().filter(|uri| Address::parse(uri).is_some());
    addresses.take(MOST_SUBSCRIPTIONS).cloned().collect()
}

/// Tells about all resources of one request until the client ends it.
pub(super) async fn listen(client: &Client, context: SubscriptionContext) {
    let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
    let (tell, mut told) = mpsc::channel(MOST_SUBSCRIPTIONS);
    let mut watches = tokio::task::JoinSet::new();
    for uri in uris {
        let (client, tell) = (client.clone(), tell.clone());
        watches.spawn(async move {
            // What is not there cannot be told of by a failure any more: the request was accepted.
            if let Ok(watched) = Watched::begin(&client, &uri).await {
                watched.follow(Listener::Request(tell, uri)).await;
            }
        });
    }
    drop(tell);
    loop {
        tokio::select! {
            () = context.cancelled() => return,
            Some(uri) = told.recv() => {
                if context.sink().notify_resource_updated(uri).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Who is told that a resource changed.
enum Listener {
    Peer(Peer<RoleServer>, String),
    /// One request for many resources.
    Request(mpsc::Sender<String>, String),
}

impl Listener {
    /// Tells; whether anybody hears.
    async fn tell(&self) -> bool {
        match self {
            Self::Peer(peer, uri) => {
                let update = ResourceUpdatedNotificationParam::new(uri.clone());
                peer.notify_resource_updated(update).await.is_ok()
            }
            Self::Request(request, uri) => request.send(uri.clone()).await.is_ok(),
        }
    }
}

/// A resource that is being watched.
struct Watched {
    client: Client,
    workspace: WorkspaceRef,
    address: Address,
    revision: WorkspaceRevision,
    /// Of a file, what it was last; none: it was not there.
    file: Option<FileEntry>,
}

impl Watched {
    async fn begin(client: &Client, uri: &str) -> Result<Self, ErrorData> {
        let address = Address::parse(uri)
            .ok_or_else(|| ErrorData::resource_not_found(format!("nothing is at {uri:?}"), None))?;
        let workspace = address.workspace().clone();
        let now = WorkspaceWaitRequest::new(workspace);
        let revision = wait(client, &now).await.map_err(super::resources::failed)?;
        // By its id, so that another one of that name is not taken for it.
        let workspace = WorkspaceRef::new(&revision.workspace_id).map_err(super::resources::failed)?;
        let client = client.clone().finding_only();
        let mut watched = Self { client, workspace, address, revision, file: None };
        watched.file = watched.look().await.unwrap_or_default();
        Ok(watched)
    }

    /// Says each time that it changed, until the workspace is gone or nobody hears.
    async fn follow(mut self, listener: Listener) {
        loop {
            let changed = match self.next().await {
                Ok(changed) => changed,
                Err(error) if error.code == ErrorCode::UnknownWorkspace => {
                    // It is another resource than it was: there is none any more.
                    listener.tell().await;
                    return;
                }
                Err(_) => {
                    tokio::time::sleep(DAEMON_PAUSE).await;
                    continue;
                }
            };
            if changed {
                if !listener.tell().await {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Waits until something changes in the workspace; whether the resource did.
    async fn next(&mut self) -> Result<bool, ErrorBody> {
        let request = WorkspaceWaitRequest {
            after: Some(self.revision.revision),
            ..WorkspaceWaitRequest::new(self.workspace.clone())
        };
        let before = std::mem::replace(&mut self.revision, wait(&self.client, &request).await?);
        match self.address {
            Address::Logs(_) => Ok(self.revision.commands_revision > before.revision),
            Address::File(..) if self.revision.files_revision <= before.revision => Ok(false),
            Address::File(..) => {
                // Without a machine nobody can say; it is looked at again after the next change.
                let Ok(now) = self.look().await else { return Ok(false) };
                Ok(std::mem::replace(&mut self.file, now.clone()) != now)
            }
        }
    }

    /// The file as it is now, if this is about one.
    async fn look(&self) -> Result<Option<FileEntry>, ErrorBody> {
        let Address::File(_, path) = &self.address else { return Ok(None) };
        let request =
            FileStatRequest { workspace: self.workspace.clone(), path: path.clone(), sha256: false };
        match self.client.call::<StatFile>(&request).await.map_err(ErrorBody::from) {
            Ok(stat) => Ok(Some(stat.entry)),
            Err(error) if error.code == ErrorCode::PathNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn wait(client: &Client, request: &WorkspaceWaitRequest) -> Result<WorkspaceRevision, ErrorBody> {
    let mut exchange = client.stream::<WaitForChange>(request).await?;
    loop {
        if let Output::Result(revision) = exchange.next().await? {
            return Ok(revision);
        }
    }
}
