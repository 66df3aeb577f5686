//! Finding lines and paths, patches, and what became of the files of a workspace.

use bytes::Bytes;
use pyro_api::{
    ErrorBody,
    run::EXECUTION_MODE,
    text::ByteString,
    workspace::{
        diff::{Against, DiffEntry, DiffSide, DiffSummary, WorkspaceDiff, WorkspaceDiffRequest},
        identity::WorkspaceRef,
        patch::{ChangeStatus, PatchApplyRequest, PatchResult, PatchSummary, PatchedFile, ShiftedHunk},
        path::{WorkspacePath, absolute},
        search::{FileGlob, FileGlobRequest, FileGrep, FileGrepRequest, FileMatch},
    },
};
use pyro_workspace::{
    Host,
    files::{self, Change, Diff, DiffReport, Entry, EntryKind, Glob, Grep, Match, Patch, Patched},
};

use super::entries::{artifact_type, change_status, entry, failed, fit, hexadecimal, in_json, mode, open};

pub(in crate::daemon) async fn file_glob(
    host: &Host,
    request: FileGlobRequest,
) -> Result<FileGlob, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let glob = Glob {
        path: path.clone(),
        pattern: request.pattern.clone(),
        limit: request.limit,
        respect_gitignore: request.respect_gitignore,
        skip_hidden: request.skip_hidden,
    };
    let found = files.glob(glob).await.map_err(|error| failed(&error))?;
    let mut entries = found.entries;
    let is_cut = fit(&mut entries, |entry| in_json(&entry.path) + in_json(&entry.link_target));
    Ok(FileGlob {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        pattern: request.pattern,
        count: entries.len() as u64,
        entries: entries.into_iter().map(entry).collect(),
        truncated: is_cut || found.listed.truncated,
        notes: found.listed.notes,
        execution_mode: EXECUTION_MODE.to_owned(),
    })
}

pub(in crate::daemon) async fn file_grep(
    host: &Host,
    request: FileGrepRequest,
) -> Result<FileGrep, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let names_only = request.names_only;
    let grep = Grep {
        path: path.clone(),
        pattern: request.pattern.clone(),
        fixed: request.fixed,
        ignore_case: request.ignore_case,
        include: request.include,
        context: request.context,
        limit: request.limit,
        max_line_bytes: request.max_line_bytes,
        respect_gitignore: request.respect_gitignore,
        names_only,
    };
    let found = files.grep(grep).await.map_err(|error| failed(&error))?;
    let mut matches = found.matches;
    let is_cut = fit(&mut matches, |found| in_json(&found.path) + in_json(&found.text));
    Ok(FileGrep {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        pattern: request.pattern,
        count: matches.iter().filter(|found| !found.is_context).count() as u64,
        matches: matches.into_iter().map(|found| file_match(found, names_only)).collect(),
        truncated: is_cut || found.listed.truncated,
        notes: found.listed.notes,
        execution_mode: EXECUTION_MODE.to_owned(),
    })
}

fn file_match(found: Match, names_only: bool) -> FileMatch {
    let Match { path, line, text, is_context } = found;
    FileMatch {
        path: absolute(&path),
        line: (!names_only).then_some(line),
        text: (!names_only).then_some(ByteString(text)),
        is_context,
        line_count: names_only.then_some(line),
    }
}

pub(in crate::daemon) async fn patch_apply(
    host: &Host,
    request: PatchApplyRequest,
) -> Result<PatchResult, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let PatchApplyRequest { patch, check, reverse, .. } = request;
    let apply = Patch { check, max_bytes: patch.0.len() as u64, reverse };
    let patched = files.patch(apply, Bytes::from(patch.0.clone())).await.map_err(|error| failed(&error))?;
    Ok(patch_result(files.workspace().to_string(), patch, check, &patched))
}

fn patch_result(workspace_id: String, patch: ByteString, check: bool, patched: &Patched) -> PatchResult {
    let entries: Vec<_> = patched.files.iter().map(patched_file).collect();
    let summary = patch_summary(&entries, patched.left_out_count);
    PatchResult {
        workspace_id,
        changed: summary.total > 0,
        summary,
        entries,
        left_out_count: patched.left_out_count,
        patch,
        execution_mode: EXECUTION_MODE.to_owned(),
        checked_only: check,
    }
}

fn patched_file(file: &files::PatchedFile) -> PatchedFile {
    let status = change_status(file.status());
    let shifted = file.shifted.iter().map(|hunk| ShiftedHunk {
        hunk: hunk.hunk.into(),
        line: hunk.line,
        offset: hunk.offset,
        fuzz: hunk.fuzz,
    });
    PatchedFile {
        path: absolute(&file.path),
        status,
        old_path: (!file.old_path.is_empty()).then(|| absolute(&file.old_path)),
        shifted: shifted.collect(),
    }
}

fn patch_summary(entries: &[PatchedFile], left_out_count: u64) -> PatchSummary {
    let count = |wanted: &[ChangeStatus]| {
        entries.iter().filter(|entry| wanted.contains(&entry.status)).count() as u64
    };
    PatchSummary {
        total: (entries.len() as u64).saturating_add(left_out_count),
        added: count(&[ChangeStatus::Added, ChangeStatus::Copied]),
        modified: count(&[ChangeStatus::Modified, ChangeStatus::TypeChanged]),
        deleted: count(&[ChangeStatus::Deleted]),
        renamed: count(&[ChangeStatus::Renamed]),
    }
}

pub(in crate::daemon) async fn diff(
    host: &Host,
    request: WorkspaceDiffRequest,
) -> Result<WorkspaceDiff, ErrorBody> {
    request.check()?;
    let diff = Diff {
        paths: request.paths.iter().map(WorkspacePath::relative).collect::<Result<_, _>>()?,
        names_only: request.name_only || request.stat,
        max_bytes: request.max_bytes,
        context: request.context,
        with_counts: !request.name_only,
        no_renames: request.no_renames,
    };
    let reference = request.workspace.as_str();
    let (workspace_id, against, report) = match &request.against {
        Against::Baseline => {
            let files = open(host, reference).await?;
            (files.workspace().to_string(), Against::Baseline, files.diff(diff).await)
        }
        Against::Host => {
            let files = open(host, reference).await?;
            (files.workspace().to_string(), Against::Host, files.diff_with_host(diff, |_| {}).await)
        }
        Against::Workspace(other) => {
            let both = host.workspaces().files_of_both(reference, other.as_str()).await;
            let (files, other) = both.map_err(|error| failed(&error))?;
            let against = Against::Workspace(WorkspaceRef::new(other.workspace().to_string())?);
            (files.workspace().to_string(), against, files.diff_with(diff, &other).await)
        }
    };
    let report = report.map_err(|error| failed(&error))?;
    Ok(workspace_diff(workspace_id, against, report))
}

fn workspace_diff(workspace_id: String, against: Against, report: DiffReport) -> WorkspaceDiff {
    let DiffReport { mut changes, patch, done } = report;
    let summary = diff_summary(&changes);
    let mut notes = done.notes;
    if fit(&mut changes, |change| in_json(&change.path) + in_json(&change.old_path)) {
        let untold = summary.total - changes.len() as u64;
        notes.push(format!("{untold} more changed paths are not listed; name paths to see them"));
    }
    WorkspaceDiff {
        workspace_id,
        against,
        changed: summary.total > 0,
        summary,
        entries: changes.into_iter().map(|change| diff_entry(change, &patch)).collect(),
        patch: ByteString(patch.to_vec()),
        left_out: done.left_out.into_iter().map(ByteString).collect(),
        notes,
    }
}

fn diff_summary(changes: &[Change]) -> DiffSummary {
    let count = |wanted: files::ChangeStatus| {
        changes.iter().filter(|change| change.status() == wanted).count() as u64
    };
    let sum = |lines: fn(&Change) -> Option<u64>| {
        let counted = changes.iter().filter_map(lines);
        counted.fold(None, |sum: Option<u64>, lines| Some(sum.unwrap_or(0).saturating_add(lines)))
    };
    let text_patched = changes.iter().filter(|change| change.patch_offset.is_some()).count() as u64;
    DiffSummary {
        total: changes.len() as u64,
        added: count(files::ChangeStatus::Added),
        modified: count(files::ChangeStatus::Modified),
        deleted: count(files::ChangeStatus::Deleted),
        type_changed: count(files::ChangeStatus::TypeChanged),
        renamed: count(files::ChangeStatus::Renamed),
        text_patched,
        non_text: changes.iter().filter(|change| is_without_text(change)).count() as u64,
        added_lines: sum(|change| change.added_lines),
        removed_lines: sum(|change| change.removed_lines),
    }
}

/// Whether a patch can say nothing of it, or not all: binary files, directories, special files.
fn is_without_text(change: &Change) -> bool {
    let has_text = |entry: &Entry| matches!(entry.kind(), EntryKind::File | EntryKind::Symlink);
    change.binary || !change.now.iter().chain(&change.base).any(has_text)
}

fn diff_entry(change: Change, patch: &[u8]) -> DiffEntry {
    let status = change_status(change.status());
    let text_patch = part(&change, patch).map(|text| ByteString(text.to_vec()));
    let kind = change.now.as_ref().or(change.base.as_ref()).map_or(EntryKind::File, Entry::kind);
    let binary = change.binary;
    let side = |entry: Entry| DiffSide {
        artifact_type: artifact_type(entry.kind()),
        mode: mode(entry.mode),
        size_bytes: entry.size_bytes,
        sha256: (binary && !entry.sha256.is_empty()).then(|| hexadecimal(&entry.sha256)),
    };
    DiffEntry {
        path: ByteString(change.path),
        status,
        artifact_type: artifact_type(kind),
        text_patch,
        old_path: (!change.old_path.is_empty()).then_some(ByteString(change.old_path)),
        binary,
        added_lines: change.added_lines,
        removed_lines: change.removed_lines,
        old: change.base.map(side),
        new: change.now.map(side),
    }
}

/// A change's own part of the patch. Where that is, the guest says: it may say anything.
fn part<'p>(change: &Change, patch: &'p [u8]) -> Option<&'p [u8]> {
    let begin = usize::try_from(change.patch_offset?).ok()?;
    let length = usize::try_from(change.patch_bytes).ok()?;
    patch.get(begin..begin.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size_bytes: u64) -> Option<Entry> {
        Some(Entry {
            kind: EntryKind::File.into(),
            size_bytes,
            mode: 0o644,
            sha256: vec![0xab; 2],
            ..Entry::default()
        })
    }

    #[test]
    fn files_that_no_answer_has_room_for_are_counted() {
        let listed = files::PatchedFile { path: b"a".to_vec(), ..files::PatchedFile::default() };
        let result = |files: Vec<_>, left_out_count| {
            patch_result("w".to_owned(), "x".into(), false, &Patched { files, left_out_count })
        };
        let long = result(vec![listed], 4);
        assert_eq!((long.entries.len(), long.left_out_count, long.summary.total), (1, 4, 5));
        assert!(result(Vec::new(), 4).changed && !result(Vec::new(), 0).changed);
    }

    #[test]
    fn a_diff_has_each_part_of_its_patch_and_sums_up() {
        let change = |path: &[u8], status: files::ChangeStatus| Change {
            path: path.to_vec(),
            status: status.into(),
            ..Change::default()
        };
        let changes = vec![
            Change {
                now: file(3),
                patch_offset: Some(0),
                patch_bytes: 4,
                added_lines: Some(2),
                ..change(b"a", files::ChangeStatus::Added)
            },
            Change {
                base: file(1),
                now: file(2),
                binary: true,
                ..change(b"b", files::ChangeStatus::Modified)
            },
            Change {
                base: file(1),
                patch_offset: Some(4),
                // More than there is.
                patch_bytes: u64::MAX,
                added_lines: Some(1),
                removed_lines: Some(1),
                ..change(b"\xff", files::ChangeStatus::Deleted)
            },
        ];
        let report = DiffReport {
            changes,
            patch: Bytes::from_static(b"one\ntwo\n"),
            done: files::DiffDone::default(),
        };
        let diff = workspace_diff("w".to_owned(), Against::Baseline, report);
        let DiffSummary { total, added, deleted, text_patched, non_text, added_lines, removed_lines, .. } =
            diff.summary;
        assert_eq!((total, added, deleted, text_patched, non_text), (3, 1, 1, 2, 1));
        assert_eq!((added_lines, removed_lines), (Some(3), Some(1)));
        let texts: Vec<_> = diff.entries.iter().map(|entry| entry.text_patch.clone()).collect();
        assert_eq!(texts, [Some("one\n".into()), None, None]);
        let digest = |side: &Option<DiffSide>| side.as_ref().and_then(|side| side.sha256.clone());
        assert_eq!(digest(&diff.entries[1].new).as_deref(), Some("abab"));
        assert_eq!(digest(&diff.entries[0].new), None);
        assert!(diff.changed && diff.entries[2].new.is_none());
    }
}
