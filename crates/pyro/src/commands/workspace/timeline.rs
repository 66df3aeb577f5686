//! `pyro workspace timeline`.

use clap::Args;
use pyro_api::{
    operation::GetTimeline,
    workspace::{
        identity::WorkspaceRef,
        timeline::{TimelineEntry, WorkspaceTimelineRequest},
    },
};

use super::view::time;
use crate::{
    commands::client,
    output::{self, Failure, Status, printable},
    settings::Settings,
};

/// Show the calls of a workspace with automatic checkpoints, and what can be gone back to
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceTimelineRequest { workspace: arguments.workspace };
    let timeline = client(settings).call::<GetTimeline>(&request).await?;
    if arguments.json {
        output::json(&timeline)?;
        return Ok(0);
    }
    if timeline.entries.is_empty() {
        let why = if timeline.auto_checkpoint {
            "no call yet"
        } else {
            "no checkpoints: `pyro workspace update --auto-checkpoint on` has them taken"
        };
        output::line(why)?;
    }
    for entry in &timeline.entries {
        output::line(line(entry))?;
    }
    Ok(0)
}

/// One entry: what can be gone back to, and what came then.
fn line(entry: &TimelineEntry) -> String {
    let (number, call) = match &entry.step {
        Some(step) if entry.behind => (step.number.to_string(), step.call.clone()),
        Some(step) => (step.number.to_string(), format!("{} (undone)", step.call)),
        None => ("-".to_owned(), "(what an undo left)".to_owned()),
    };
    printable(&format!("{number:>5}  {}  {}  {call}", time(entry.at), entry.snapshot_id))
}

#[cfg(test)]
mod tests {
    use pyro_api::workspace::timeline::Step;

    use super::*;

    #[test]
    fn an_entry_is_one_line_that_says_whether_it_was_undone() {
        let step = Step { number: 7, at: 1.0, call: "exec make\u{1b}[2J".to_owned() };
        let entry = TimelineEntry {
            at: 1.0,
            step: Some(step),
            behind: true,
            snapshot_id: "0123456789ab".to_owned(),
            size_bytes: 1,
        };
        let shown = line(&entry);
        assert!(shown.starts_with("    7  ") && shown.contains("0123456789ab  exec make"), "{shown}");
        assert!(!shown.contains('\u{1b}') && !shown.contains("undone"), "{shown}");
        assert!(line(&TimelineEntry { behind: false, ..entry.clone() }).ends_with("(undone)"));
        assert!(line(&TimelineEntry { step: None, ..entry }).contains("    -  "));
    }
}
