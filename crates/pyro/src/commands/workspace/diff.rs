//! `pyro workspace diff`.

use clap::Args;
use pyro_api::{
    operation::DiffWorkspace,
    text::ByteString,
    workspace::{
        diff::{Against, DEFAULT_DIFF_BYTES, DiffEntry, DiffSide, WorkspaceDiff, WorkspaceDiffRequest},
        identity::WorkspaceRef,
        path::WorkspacePath,
    },
};

use super::{file::guest_path, view::shown};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Show what became of the files of a workspace
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Only these paths and what is below them
    #[arg(value_name = "PATH", value_parser = guest_path())]
    paths: Vec<WorkspacePath>,
    /// Compare with what it was filled with (baseline), with that directory as it is now (host), or with another workspace
    #[arg(long, value_name = "SIDE", default_value = "baseline")]
    against: Against,
    /// Count lines instead
    #[arg(long, conflicts_with = "name_only")]
    stat: bool,
    /// Only names
    #[arg(long)]
    name_only: bool,
    /// At most so much patch; what is left out is named
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_DIFF_BYTES)]
    max_bytes: u64,
    /// Lines of context [default: 3]
    #[arg(short = 'U', long, value_name = "N")]
    context: Option<u32>,
    /// Show renames as deletion and addition
    #[arg(long)]
    no_renames: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> WorkspaceDiffRequest {
        WorkspaceDiffRequest {
            workspace: self.workspace.clone(),
            against: self.against.clone(),
            paths: self.paths.clone(),
            stat: self.stat,
            name_only: self.name_only,
            max_bytes: self.max_bytes,
            context: self.context,
            no_renames: self.no_renames,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let diff = client(settings).call::<DiffWorkspace>(&request).await?;
    if arguments.json {
        output::json(&diff)?;
    } else if arguments.name_only {
        for entry in &diff.entries {
            output::line(shown(&entry.path))?;
        }
    } else if arguments.stat {
        for entry in &diff.entries {
            output::line(stat_line(entry))?;
        }
        output::line(summary(&diff))?;
    } else {
        show(&diff)?;
    }
    Ok(0)
}

fn show(diff: &WorkspaceDiff) -> Result<(), Failure> {
    if !diff.changed {
        return output::line(format!("No workspace changes (against {}).", diff.against));
    }
    output::line(summary(diff))?;
    output::write(&diff.patch.0)?;
    for path in &diff.left_out {
        output::note(format!("[workspace-diff] left out because of its size: {}", shown(path)));
    }
    for note in &diff.notes {
        output::note(format!("[workspace-diff] {}", output::printable(note)));
    }
    Ok(())
}

fn summary(diff: &WorkspaceDiff) -> String {
    let counts = &diff.summary;
    let lines = match (counts.added_lines, counts.removed_lines) {
        (Some(added), Some(removed)) => format!(" added_lines={added} removed_lines={removed}"),
        _ => String::new(),
    };
    format!(
        "[workspace-diff] workspace_id={} total={} added={} modified={} deleted={} type_changed={} renamed={} text_patched={} non_text={}{lines}",
        diff.workspace_id,
        counts.total,
        counts.added,
        counts.modified,
        counts.deleted,
        counts.type_changed,
        counts.renamed,
        counts.text_patched,
        counts.non_text,
    )
}

fn stat_line(entry: &DiffEntry) -> String {
    let path = renamed(&entry.path, entry.old_path.as_ref());
    let change = match (entry.added_lines, entry.removed_lines) {
        (Some(added), Some(removed)) => format!("+{added} -{removed}"),
        _ => format!("{} -> {} bytes", size(entry.old.as_ref()), size(entry.new.as_ref())),
    };
    let binary = if entry.binary { " (binary)" } else { "" };
    format!("{path} [{}] {change}{binary}", entry.status)
}

fn renamed(path: &ByteString, old_path: Option<&ByteString>) -> String {
    old_path.map_or_else(|| shown(path), |old| format!("{} => {}", shown(old), shown(path)))
}

fn size(side: Option<&DiffSide>) -> u64 {
    side.map_or(0, |side| side.size_bytes)
}
