//! `pyro workspace file grep`.

use clap::Args;
use pyro_api::{
    operation::GrepFiles,
    workspace::{
        identity::WorkspaceRef,
        path::WorkspacePath,
        search::{DEFAULT_LINE_BYTES, DEFAULT_MATCH_LIMIT, FileGrepRequest, FileMatch},
    },
};

use super::{guest_path, tell_notes};
use crate::{
    commands::{client, workspace::view::shown},
    output::{self, Failure, Status},
    settings::Settings,
};

/// Find lines that match a pattern; exit with 1 if there are none
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Regular expression
    #[arg(allow_hyphen_values = true)]
    pattern: String,
    /// Below this directory, or in this file
    #[arg(default_value = "/workspace", value_parser = guest_path())]
    path: WorkspacePath,
    /// The pattern is a plain text
    #[arg(short = 'F', long)]
    fixed: bool,
    /// Case does not matter
    #[arg(short, long)]
    ignore_case: bool,
    /// Only in files whose path matches this pattern; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Lines shown before and after
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    context: u32,
    /// At most so many lines
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MATCH_LIMIT)]
    limit: u64,
    /// At most so many bytes of each line
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_LINE_BYTES)]
    max_line_bytes: u32,
    /// Leave out what .gitignore files name
    #[arg(long)]
    respect_gitignore: bool,
    /// Only the names of the files, each with how many lines match
    #[arg(short = 'l', long)]
    names_only: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> FileGrepRequest {
        FileGrepRequest {
            workspace: self.workspace.clone(),
            pattern: self.pattern.clone(),
            path: self.path.clone(),
            fixed: self.fixed,
            ignore_case: self.ignore_case,
            include: self.include.clone(),
            context: self.context,
            limit: self.limit,
            max_line_bytes: self.max_line_bytes,
            respect_gitignore: self.respect_gitignore,
            names_only: self.names_only,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let found = client(settings).call::<GrepFiles>(&request).await?;
    let status = (found.count == 0).into();
    if arguments.json {
        output::json(&found)?;
        return Ok(status);
    }
    for line in &found.matches {
        output::line(match_line(line))?;
    }
    if found.truncated {
        output::note(format!("[workspace-file-grep] only the first {} matches", found.count));
    }
    tell_notes(&found.notes);
    Ok(status)
}

/// As `grep -n` has it: a colon before a line that matches, a dash before one beside it.
fn match_line(found: &FileMatch) -> String {
    let path = shown(&found.path);
    match (found.line, &found.text) {
        (Some(line), Some(text)) => {
            let mark = if found.is_context { '-' } else { ':' };
            format!("{path}{mark}{line}{mark}{}", shown(text))
        }
        _ => format!("{path}:{}", found.line_count.unwrap_or(0)),
    }
}
