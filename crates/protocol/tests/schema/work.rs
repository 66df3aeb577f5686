//! What is said to a file worker.

use prost::bytes::Bytes;
use pyro_protocol::work::{
    Change, ChangeStatus, Changed, Changes, Delete, Diff, DiffDone, EndOfInput, Entries, Entry, EntryKind,
    Glob, Grep, List, Listed, MAX_WORK_BYTES, MakeDirectory, Match, Matches, Pack, Patch, Patched,
    PatchedFile, PathRef, Push, Pushed, Read, ReadDone, Replace, Replaced, Seed, ShiftedHunk, Synced,
    Transfer, Unpacked, WorkFailure, WorkFailureCode, WorkReply, WorkRequest, Write, Written, work_reply,
    work_request,
};

use super::*;

pub(super) fn messages(text: &mut String) {
    let mut out = std::mem::take(text);
    let (name, bytes) = (|| "x".to_owned(), || vec![1]);
    line(&mut out, "longest message", MAX_WORK_BYTES);
    variants!(out, WorkRequest, work_request {
        Data(Bytes::from_static(b"x")),
        End(EndOfInput::default()),
        Seed(Seed::default()),
        Stat(PathRef::default()),
        List(List::default()),
        Read(Read::default()),
        Write(Write::default()),
        Replace(Replace::default()),
        MakeDirectory(MakeDirectory::default()),
        Move(Transfer::default()),
        Copy(Transfer::default()),
        Delete(Delete::default()),
        Glob(Glob::default()),
        Grep(Grep::default()),
        Patch(Patch::default()),
        Diff(Diff::default()),
        Push(Push::default()),
        Changes(Changes::default()),
        Pack(Pack::default()),
        Synced(Synced::default()),
        DiffAgainst(Diff::default()),
    });
    variants!(out, WorkReply, work_reply {
        Data(Bytes::from_static(b"x")),
        Entries(Entries::default()),
        Matches(Matches::default()),
        Changed(Changed::default()),
        Done(Listed::default()),
        Failure(WorkFailure::default()),
        Entry(Entry::default()),
        ReadDone(ReadDone::default()),
        Written(Written::default()),
        Replaced(Replaced::default()),
        Unpacked(Unpacked::default()),
        Patched(Patched::default()),
        DiffDone(DiffDone::default()),
        Pushed(Pushed::default()),
    });
    message!(out, EndOfInput { abandoned: name() });
    message!(out, WorkFailure { code: 1, message: name(), path: bytes(), errno: 1 });
    numbers!(
        out,
        WorkFailureCode {
            Unspecified,
            Invalid,
            NotFound,
            Exists,
            Escapes,
            WrongType,
            NotEmpty,
            CountMismatch,
            PatchMalformed,
            PatchRejected,
            DiskFull,
            BadArchive,
            TooLarge,
            BadPattern,
            Unsupported,
            Abandoned,
            Changed
        }
    );
    numbers!(out, EntryKind { Special, File, Directory, Symlink });
    message!(
        out,
        Entry {
            path: bytes(),
            kind: 1,
            size_bytes: 1,
            mode: 1,
            modified_ns: 1,
            link_target: bytes(),
            uid: 1,
            gid: 1,
            sha256: bytes(),
            stamp: bytes()
        }
    );
    message!(out, Entries { entries: vec![Entry::default()] });
    message!(out, Listed { truncated: true, notes: vec![name()] });
    message!(out, PathRef { path: bytes(), with_sha256: true });
    message!(out, Seed { has_input: true });
    message!(out, Unpacked { entry_count: 1, content_bytes: 1, notes: vec![name()] });
    message!(out, List { path: bytes(), recursive: true, limit: 1, after: bytes(), with_stamps: true });
    message!(out, Read { path: bytes(), offset: 1, max_bytes: 1, first_line: 1, last_line: 1 });
    message!(out, ReadDone { entry: Some(Entry::default()), truncated: true, total_lines: Some(1) });
    message!(
        out,
        Write {
            path: bytes(),
            mode: Some(1),
            create_only: true,
            first_line: 1,
            last_line: 1,
            max_bytes: 1,
            append: true
        }
    );
    message!(out, Written { entry: Some(Entry::default()), written_bytes: 1, created: true });
    message!(out, Replace { path: bytes(), old: bytes(), new: bytes(), count: 1 });
    message!(out, Replaced { count: 1, lines: vec![1], entry: Some(Entry::default()) });
    message!(out, MakeDirectory { path: bytes(), mode: Some(1), must_create: true });
    message!(out, Transfer { from: bytes(), to: bytes(), overwrite: true, recursive: true });
    message!(out, Delete { path: bytes(), recursive: true, missing_ok: true });
    message!(
        out,
        Glob { path: bytes(), pattern: name(), limit: 1, respect_gitignore: true, skip_hidden: true }
    );
    message!(
        out,
        Grep {
            path: bytes(),
            pattern: name(),
            fixed: true,
            ignore_case: true,
            include: vec![name()],
            context: 1,
            limit: 1,
            max_line_bytes: 1,
            respect_gitignore: true,
            names_only: true
        }
    );
    message!(out, Matches { matches: vec![Match::default()] });
    message!(out, Match { path: bytes(), line: 1, text: bytes(), is_context: true });
    message!(out, Patch { check: true, max_bytes: 1, reverse: true });
    message!(out, Patched { files: vec![PatchedFile::default()], left_out_count: 1 });
    message!(
        out,
        PatchedFile { path: bytes(), status: 1, old_path: bytes(), shifted: vec![ShiftedHunk::default()] }
    );
    message!(out, ShiftedHunk { hunk: 1, line: 1, offset: 1, fuzz: 1 });
    numbers!(out, ChangeStatus { Unspecified, Added, Modified, Deleted, TypeChanged, Renamed, Copied });
    message!(
        out,
        Diff {
            paths: vec![bytes()],
            names_only: true,
            max_bytes: 1,
            context: Some(1),
            with_counts: true,
            no_renames: true
        }
    );
    message!(out, Changed { changes: vec![Change::default()] });
    message!(
        out,
        Change {
            path: bytes(),
            status: 1,
            old_path: bytes(),
            now: Some(Entry::default()),
            base: Some(Entry::default()),
            binary: true,
            added_lines: Some(1),
            removed_lines: Some(1),
            patch_offset: Some(1),
            patch_bytes: 1
        }
    );
    message!(out, DiffDone { left_out: vec![bytes()], notes: vec![name()] });
    message!(
        out,
        Push { path: bytes(), delete: true, keep: vec![name()], dry_run: true, is_seed_directory: true }
    );
    message!(
        out,
        Pushed {
            received: Some(Unpacked::default()),
            changed_count: 1,
            deleted_count: 1,
            changes: vec![Change::default()]
        }
    );
    message!(out, Changes { path: bytes() });
    message!(out, Pack { paths: vec![bytes()], base: bytes(), not_recursive: true });
    message!(out, Synced { entries: vec![Entry::default()] });
    *text = out;
}
