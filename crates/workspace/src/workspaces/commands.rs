//! Commands of a workspace that is named by id or name, or of a one-shot machine by its id. Running one is
//! activity; reading what became of it is not.

use std::time::SystemTime;

use super::{WorkspaceId, WorkspaceView, Workspaces};
use crate::{
    commands::{
        CommandRecord, CommandState, Excerpt, Excerption, ExecIo, ExecOutcome, ExecRequest, FollowIo,
    },
    error::Error,
    session::OutputKind,
    store::{CommandPage, CommandQuery, CommandsSince},
};

impl Workspaces {
    /// Runs a command, once; see [`Commands::exec`](crate::commands::Commands::exec). Also says where it ran.
    pub async fn exec(
        &self,
        reference: &str,
        request: ExecRequest,
        io: ExecIo,
    ) -> Result<(WorkspaceView, ExecOutcome), Error> {
        let id = self.resolve_any(reference)?;
        let mut in_use = self.use_machine(&id).await?;
        let commands = self.commands(&id)?;
        if self.has_checkpoints(&id)?
            && let Some(command) = commands.would_begin(&request).await?
        {
            self.checkpoint(&id, format!("exec {command}")).await?;
            // It may have another machine by now.
            in_use = self.use_machine(&id).await?;
        }
        let outcome = match commands.exec(request, io).await {
            Ok(outcome) => outcome,
            Err(error) => return Err(in_use.blame(error).await),
        };
        // Whoever follows the same command may remove its machine as soon as nobody uses it.
        let view = self.view_of(&id).await?;
        drop(in_use);
        Ok((view, outcome))
    }

    /// What is known of a command.
    pub async fn command(
        &self,
        reference: &str,
        sequence: u64,
    ) -> Result<(WorkspaceId, CommandRecord), Error> {
        let id = self.resolve_any(reference)?;
        let record = self.commands(&id)?.job(sequence).await?;
        Ok((id, record))
    }

    /// What is known of a command, and where it ran.
    pub async fn command_in(
        &self,
        reference: &str,
        sequence: u64,
    ) -> Result<(WorkspaceView, CommandRecord), Error> {
        let (id, record) = self.command(reference, sequence).await?;
        Ok((self.view_of(&id).await?, record))
    }

    /// The newest command that has ended.
    pub async fn last_command(&self, id: &WorkspaceId) -> Result<Option<CommandRecord>, Error> {
        self.shared.store.last_ended_command(id).await
    }

    /// Commands that have not ended, and the newest `most_ended` of those that have and for which nobody waited; oldest
    /// first.
    pub async fn jobs(
        &self,
        reference: &str,
        most_ended: u32,
    ) -> Result<(WorkspaceId, Vec<CommandRecord>), Error> {
        let id = self.resolve_any(reference)?;
        let jobs = self.commands(&id)?.jobs_and_ended(most_ended).await?;
        Ok((id, jobs))
    }

    /// Waits for the end of a command, and tells its output if asked to. Going away is no harm to it.
    pub async fn wait(
        &self,
        reference: &str,
        sequence: u64,
        io: Option<FollowIo>,
    ) -> Result<(WorkspaceView, CommandRecord), Error> {
        let id = self.resolve_any(reference)?;
        let commands = self.commands(&id)?;
        self.touch(&id);
        let _waiting = self.shared.registry.hold(&id)?;
        let record = commands.wait(sequence, io).await?;
        Ok((self.view_of(&id).await?, record))
    }

    /// Sends a Linux signal to everything that a command started; whether it was still running.
    pub async fn kill(
        &self,
        reference: &str,
        sequence: u64,
        signal: i32,
    ) -> Result<(WorkspaceId, CommandRecord, bool), Error> {
        let id = self.resolve_any(reference)?;
        let commands = self.commands(&id)?;
        self.touch(&id);
        let record = commands.job(sequence).await?;
        if matches!(record.state, CommandState::Finished { .. }) {
            return Ok((id, record, false));
        }
        let seen = self.shared.registry.seen(&id)?;
        if let Some(stall) = seen.machine.and_then(|machine| machine.stall)
            && record.state == CommandState::Running
        {
            return Err(Error::Stalled { workspace: id, cause: stall.cause });
        }
        let signalled = commands.kill(sequence, signal).await?;
        Ok((id, commands.job(sequence).await?, signalled))
    }

    /// A page of the history, and how many commands of its kind there are on all pages.
    pub async fn logs(
        &self,
        reference: &str,
        query: CommandQuery,
    ) -> Result<(WorkspaceId, CommandPage, u64), Error> {
        let id = self.resolve_any(reference)?;
        let page = self.commands(&id)?.logs(query).await?;
        let counts = self.shared.store.command_counts(&id).await?;
        Ok((id, page, if query.failed_only { counts.failed } else { counts.total }))
    }

    /// What became of commands that have a greater sequence than `after` or ended after `at`, and those that run now.
    pub async fn commands_since(
        &self,
        reference: &str,
        after: u64,
        at: SystemTime,
        most_failures: u32,
    ) -> Result<(CommandsSince, Vec<CommandRecord>), Error> {
        let id = self.resolve_any(reference)?;
        let since = self.shared.store.commands_since(&id, after, at, most_failures).await?;
        Ok((since, self.commands(&id)?.jobs()))
    }

    /// A part of what a command printed, at most `most_bytes` of it.
    pub async fn output(
        &self,
        reference: &str,
        sequence: u64,
        kind: OutputKind,
        which: Excerption,
        most_bytes: u64,
    ) -> Result<(WorkspaceId, Excerpt), Error> {
        let id = self.resolve_any(reference)?;
        let excerpt = self.commands(&id)?.output(sequence, kind, which, most_bytes).await?;
        Ok((id, excerpt))
    }
}
