//! What the server asks for each operation. The real answers come from the library ([`super::library`]);
//! tests script their own.

use async_trait::async_trait;
use bytes::Bytes;
use pyro_api::{
    ErrorBody,
    body::{FrameSender, PeerGone},
    environment::{
        EnvImportRequest, EnvInspectRequest, EnvListRequest, EnvPruneRequest, EnvPullRequest, Environment,
        EnvironmentList, PruneResult, PulledEnvironment,
    },
    frame::{Frame, Kind},
    run::{RunReport, RunRequest},
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Answers operations. Every request is a task of its own; a panic in one is the failure of that one.
#[async_trait]
pub(crate) trait Handler: Send + Sync + 'static {
    async fn run(&self, request: RunRequest, streams: Streams) -> Result<RunReport, ErrorBody>;
    async fn env_list(&self, request: EnvListRequest) -> Result<EnvironmentList, ErrorBody>;
    async fn env_inspect(&self, request: EnvInspectRequest) -> Result<Environment, ErrorBody>;
    async fn env_pull(
        &self,
        request: EnvPullRequest,
        streams: Streams,
    ) -> Result<PulledEnvironment, ErrorBody>;
    async fn env_prune(&self, request: EnvPruneRequest) -> Result<PruneResult, ErrorBody>;
    async fn env_import(
        &self,
        request: EnvImportRequest,
        streams: Streams,
    ) -> Result<PulledEnvironment, ErrorBody>;
    /// Machines that live now, those being cleaned up included.
    fn live(&self) -> usize;
}

/// The two directions of a streaming operation.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What the client is told.
    pub(crate) output: StreamOutput,
    /// Standard input; ends when the client's does.
    pub(crate) stdin: mpsc::Receiver<Bytes>,
    /// The client asked to stop, or has gone, or the daemon ends.
    pub(crate) cancel: CancellationToken,
}

/// The way to the client of a streaming operation.
#[derive(Clone, Debug)]
pub(crate) struct StreamOutput(pub(crate) FrameSender);

impl StreamOutput {
    /// Tells of a phase or of progress.
    pub(crate) async fn event(&self, event: &(impl Serialize + Sync)) -> Result<(), PeerGone> {
        match Frame::json(Kind::Event, event) {
            Ok(frame) => self.0.send(frame).await,
            Err(error) => {
                tracing::error!(%error, "an event cannot be sent");
                Ok(())
            }
        }
    }

    /// Passes output of the command on; waits while the client does not read.
    pub(crate) async fn bytes(&self, kind: Kind, bytes: Bytes) -> Result<(), PeerGone> {
        for frame in Frame::chunks(kind, bytes) {
            self.0.send(frame).await?;
        }
        Ok(())
    }
}
