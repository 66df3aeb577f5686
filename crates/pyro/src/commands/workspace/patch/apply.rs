//! `pyro workspace patch apply`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use clap::{ArgGroup, Args};
use pyro_api::{
    ErrorBody,
    operation::ApplyPatch,
    text::ByteString,
    workspace::{
        identity::WorkspaceRef,
        patch::{MAX_PATCH_BYTES, PatchApplyRequest, PatchResult, PatchedFile},
    },
};

use crate::{
    commands::{
        client,
        workspace::{file::input, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Apply a patch, as `git diff` and `diff -u` write it: all of it, or nothing
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["patch", "patch_file", "stdin"]))]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The patch itself
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    patch: Option<OsString>,
    /// File that holds the patch
    #[arg(long, value_name = "PATH")]
    patch_file: Option<PathBuf>,
    /// Read the patch from standard input
    #[arg(long)]
    stdin: bool,
    /// Only say what would happen
    #[arg(long)]
    check: bool,
    /// Apply it backwards
    #[arg(short = 'R', long)]
    reverse: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<PatchApplyRequest, ErrorBody> {
        let patch = match (&self.patch, &self.patch_file) {
            (Some(patch), _) => patch.clone().into_vec(),
            (None, Some(path)) => input::of_file(path, MAX_PATCH_BYTES)?,
            (None, None) => input::of_stdin(MAX_PATCH_BYTES)?,
        };
        let request = PatchApplyRequest {
            workspace: self.workspace.clone(),
            patch: ByteString(patch),
            check: self.check,
            reverse: self.reverse,
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let result = client(settings).call::<ApplyPatch>(&arguments.to_request()?).await?;
    if arguments.json {
        output::json(&result)?;
        return Ok(0);
    }
    output::line(summary(&result))?;
    for file in &result.entries {
        tell_shifts(file);
    }
    Ok(0)
}

fn summary(result: &PatchResult) -> String {
    let checked = if result.checked_only { " checked_only=true" } else { "" };
    format!(
        "[workspace-patch] workspace_id={} total={} added={} modified={} deleted={} renamed={} execution_mode={}{checked}",
        result.workspace_id,
        result.summary.total,
        result.summary.added,
        result.summary.modified,
        result.summary.deleted,
        result.summary.renamed,
        result.execution_mode,
    )
}

fn tell_shifts(file: &PatchedFile) {
    for shift in &file.shifted {
        let fuzz = if shift.fuzz > 0 { format!(", fuzz {}", shift.fuzz) } else { String::new() };
        output::note(format!(
            "{}: hunk {} applied at line {} (offset {}{fuzz})",
            shown(&file.path),
            shift.hunk,
            shift.line,
            shift.offset
        ));
    }
}
