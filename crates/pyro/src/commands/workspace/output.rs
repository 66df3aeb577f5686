//! `pyro workspace output`: a part of one command's output.

use clap::Args;
use pyro_api::{
    ErrorBody, ErrorCode,
    operation::GetWorkspaceOutput,
    text::from_base64,
    workspace::{
        command::{
            CommandRef, DEFAULT_OUTPUT_BYTES, Encoding, OutputPiece, OutputStream, WantedEncoding,
            WorkspaceOutputRequest,
        },
        identity::WorkspaceRef,
    },
};

use super::view::shown;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Show a part of one command's output
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Number of the command, or its job id
    command: CommandRef,
    #[command(flatten)]
    piece: PieceFlags,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which part.
#[derive(Debug, Args)]
pub(super) struct PieceFlags {
    /// Standard output (this is what is shown if nothing is said)
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Standard error
    #[arg(long)]
    stderr: bool,
    /// First line, from 1
    #[arg(long, value_name = "LINE", conflicts_with_all = ["from_byte", "tail"])]
    from: Option<u64>,
    /// First byte, from 0
    #[arg(long, value_name = "BYTE", conflicts_with_all = ["tail", "lines", "grep"])]
    from_byte: Option<u64>,
    /// The last so many lines; with --grep, of those that match
    #[arg(long, value_name = "N", conflicts_with = "lines")]
    tail: Option<u64>,
    /// At most so many lines; with --grep, of those that match
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "PATTERN")]
    grep: Option<String>,
    /// For --grep, case does not matter
    #[arg(short, long, requires = "grep")]
    ignore_case: bool,
    /// At most so many bytes
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
}

impl PieceFlags {
    /// The request that the flags mean.
    pub(super) fn to_request(&self, workspace: WorkspaceRef, command: CommandRef) -> WorkspaceOutputRequest {
        WorkspaceOutputRequest {
            stream: if self.stderr { OutputStream::Stderr } else { OutputStream::Stdout },
            from_line: self.from,
            from_byte: self.from_byte,
            tail: self.tail,
            lines: self.lines,
            grep: self.grep.clone(),
            ignore_case: self.ignore_case,
            max_bytes: self.max_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES),
            encoding: WantedEncoding::Auto,
            ..WorkspaceOutputRequest::new(workspace, command)
        }
    }

    /// Refuses flags that would be ignored, because no command was named.
    pub(super) fn check_unused(&self) -> Result<(), ErrorBody> {
        let numbers = [self.from, self.from_byte, self.tail, self.lines, self.max_bytes];
        if self.stdout || self.stderr || self.grep.is_some() || numbers.iter().any(Option::is_some) {
            return Err(ErrorBody::new(ErrorCode::Usage, "a part of the output of which command?")
                .with_hint("write its number after the workspace"));
        }
        Ok(())
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.piece.to_request(arguments.workspace, arguments.command);
    answer(&request, arguments.json, settings).await
}

/// Asks for the part and shows it.
pub(super) async fn answer(
    request: &WorkspaceOutputRequest,
    json: bool,
    settings: &Settings,
) -> Result<Status, Failure> {
    request.check()?;
    let piece = client(settings).call::<GetWorkspaceOutput>(request).await?;
    if json {
        output::json(&piece)?;
        return Ok(0);
    }
    match &piece.matches {
        Some(matches) => {
            for found in matches {
                let place = found.line.map_or_else(|| format!("@{}", found.byte), |line| line.to_string());
                output::line(format!("{place}:{}", shown(&found.text)))?;
            }
        }
        None => output::write(&decoded(&piece.content, piece.encoding)?)?,
    }
    output::note(summary(&piece));
    Ok(0)
}

/// The bytes that stand in JSON.
pub(super) fn decoded(content: &str, encoding: Encoding) -> Result<Vec<u8>, ErrorBody> {
    match encoding {
        Encoding::Utf8 => Ok(content.as_bytes().to_vec()),
        Encoding::Base64 => from_base64(content).ok_or_else(|| {
            ErrorBody::new(ErrorCode::Internal, "the daemon answered with base64 that is none")
        }),
    }
}

fn summary(piece: &OutputPiece) -> String {
    let mut summary = format!(
        "[workspace-output] workspace_id={} sequence={} stream={} state={} bytes={}..{} of {} lines={}",
        piece.workspace_id,
        piece.sequence,
        piece.stream,
        piece.state,
        piece.first_byte,
        piece.next_byte,
        piece.total_bytes,
        piece.line_count,
    );
    if piece.dropped_bytes > 0 {
        summary.push_str(&format!(" dropped_bytes={}", piece.dropped_bytes));
    }
    let last_match = piece.matches.as_deref().and_then(<[_]>::last);
    match last_match.map(|found| found.line) {
        _ if !piece.truncated => {}
        Some(Some(line)) => summary.push_str(&format!("; there is more: --from {}", line + 1)),
        Some(None) => summary.push_str("; there is more"),
        None => summary.push_str(&format!("; there is more: --from-byte {}", piece.next_byte)),
    }
    summary
}
