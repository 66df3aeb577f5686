//! What each command line of `pyro workspace` asks for.

use clap::Parser as _;
use pyro_api::{
    ErrorCode,
    run::CommandLine,
    workspace::{
        command::{CommandRef, OutputStream, WantedEncoding},
        diff::Against,
        entry::FileMode,
        export::ExportFormat,
        identity::WorkspaceRef,
        job::JobSignal,
        view::WorkspaceState,
    },
};

use super::{Command, file, job, patch, sync};
use crate::cli::{self, Cli};

fn parse(line: &[&str]) -> Result<Command, clap::Error> {
    let words = [&["pyro", "workspace"], line].concat();
    Cli::try_parse_from(words).map(|cli| match cli.command {
        cli::Command::Workspace(command) => command,
        other => panic!("{other:?}"),
    })
}

macro_rules! parsed {
    ($pattern:pat => $found:expr, $line:expr) => {
        match parse(&$line).unwrap() {
            $pattern => $found,
            other => panic!("{other:?}"),
        }
    };
}

fn is_refused(line: &[&str]) {
    assert!(parse(line).is_err(), "{line:?}");
}

#[test]
fn create_takes_sizes_seed_and_labels() {
    let directory = tempfile::tempdir().unwrap();
    let seed = directory.path().to_str().unwrap();
    let line = [
        "create",
        "debian:12",
        "--name",
        " fix 42 ",
        "--label",
        "issue=42",
        "--label",
        "team=a b",
        "--mem-mib",
        "512",
        "--disk-mib",
        "8192",
        "--ttl-seconds",
        "0",
        "--seed-path",
        seed,
        "--exclude",
        "target/",
        "--exclude",
        "*.o",
        "--seed-git",
        "--id-only",
        "--allow-host-compat",
    ];
    let request = parsed!(Command::Create(arguments) => arguments.to_request().unwrap(), line);
    assert_eq!((request.mem_mib, request.disk_mib, request.ttl_seconds), (512, Some(8192), 0));
    assert_eq!(request.name.unwrap().as_str(), "fix 42");
    let labels: Vec<String> = request.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["issue=42", "team=a b"]);
    assert_eq!(request.seed_path, Some(seed.into()));
    assert_eq!(request.exclude, ["target/", "*.o"]);
    let usual =
        parsed!(Command::Create(arguments) => arguments.to_request().unwrap(), ["create", "debian:12"]);
    assert_eq!((usual.vcpu_count, usual.mem_mib, usual.ttl_seconds, usual.disk_mib), (1, 1024, 600, None));
    for (flag, value) in
        [("--secret", "TOKEN=x"), ("--secret-file", "TOKEN=/x"), ("--network-policy", "egress")]
    {
        let line = ["create", "debian:12", flag, value];
        let error = parsed!(Command::Create(arguments) => arguments.to_request().unwrap_err(), line);
        assert_eq!(error.code, ErrorCode::NotYetSupported, "{flag}");
    }
    let line = ["create", "debian:12", "--seed-path", "/nonexistent"];
    let error = parsed!(Command::Create(arguments) => arguments.to_request().unwrap_err(), line);
    assert_eq!(error.code, ErrorCode::FileFailed);
    is_refused(&["create"]);
    is_refused(&["create", "debian:12", "--json", "--id-only"]);
    is_refused(&["create", "debian:12", "--label", "issue"]);
    is_refused(&["create", "debian:12", "--name", " "]);
    is_refused(&["create", "debian:12", "--network-policy", "on"]);
    is_refused(&["create", "debian:12", "--seed-git"]);
    is_refused(&["create", "debian:12", "--secret", "TOKEN"]);
}

#[test]
fn secrets_are_not_shown() {
    let line = ["create", "debian:12", "--secret", "TOKEN=hunter2"];
    assert!(!format!("{:?}", parse(&line).unwrap()).contains("hunter2"));
}

#[test]
fn list_filters_and_pages() {
    let line =
        ["list", "--name", "fix", "--label", "a=b", "--state", "stopped", "--limit", "5", "--cursor", "x"];
    let request = parsed!(Command::List(arguments) => arguments.to_request(), line);
    assert_eq!(request.state, Some(WorkspaceState::Stopped));
    assert_eq!((request.limit, request.cursor.as_deref()), (Some(5), Some("x")));
    assert_eq!((request.name.unwrap().as_str(), request.labels.len()), ("fix", 1));
    is_refused(&["list", "--state", "gone"]);
}

#[test]
fn update_changes_name_labels_and_lifetime() {
    let line = [
        "update",
        "fix 42",
        "--clear-name",
        "--label",
        "a=b",
        "--clear-label",
        "c",
        "--clear-label",
        "d",
        "--ttl-seconds",
        "9999",
    ];
    let request = parsed!(Command::Update(arguments) => arguments.to_request(), line);
    assert!(request.clear_name && request.check().is_ok());
    assert_eq!((request.workspace.as_str(), request.clear_labels.len()), ("fix 42", 2));
    assert_eq!(request.ttl_seconds, Some(9999));
    let nothing = parsed!(Command::Update(arguments) => arguments.to_request(), ["update", "a"]);
    assert_eq!(nothing.check().unwrap_err().code, ErrorCode::InvalidRequest);
    is_refused(&["update", "a", "--name", "b", "--clear-name"]);
    is_refused(&["update", "a", "--clear-label", " "]);
}

#[test]
fn the_simple_ones_take_an_id_or_a_name() {
    for verb in ["status", "stop", "start", "delete"] {
        for name in ["0123456789ab", "fix 42"] {
            assert!(parse(&[verb, name, "--json"]).unwrap().json(), "{verb}");
        }
        is_refused(&[verb]);
        is_refused(&[verb, " "]);
        is_refused(&[verb, "a", "b"]);
    }
    assert!(parse(&["delete", "a", "--force"]).is_ok());
}

#[test]
fn a_summary_begins_at_a_cursor_or_a_job() {
    let line = ["summary", "fix", "--since", "c7@1732812345678", "--max-chars", "800"];
    let request = parsed!(Command::Summary(arguments) => arguments.to_request(), line);
    let since = request.since.unwrap();
    assert_eq!((since.sequence, since.at_ms, request.max_chars), (7, Some(1_732_812_345_678), 800));
    let usual = parsed!(Command::Summary(arguments) => arguments.to_request(), ["summary", "fix"]);
    assert_eq!((usual.since, usual.max_chars), (None, 4000));
    is_refused(&["summary", "fix", "--since", "yesterday"]);
}

#[test]
fn exec_takes_flags_anywhere_before_the_dashes() {
    for line in [
        &["exec", "fix", "--timeout-seconds", "1", "--", "git", "status"][..],
        &["exec", "--timeout-seconds", "1", "fix", "--", "git", "status"],
        &["exec", "--timeout-seconds=1", "fix", "git", "status"],
    ] {
        let Command::Exec(arguments) = parse(line).unwrap() else { panic!("{line:?}") };
        let request = arguments.to_request(false).unwrap();
        assert_eq!((request.command.display(), request.timeout_seconds), ("git status".to_owned(), Some(1)));
    }
    let line = [
        "exec",
        "fix",
        "--cwd",
        "src",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--user",
        "nobody",
        "--idempotency-key",
        "k",
        "--",
        "make | tee log",
    ];
    let request = parsed!(Command::Exec(arguments) => arguments.to_request(true).unwrap(), line);
    assert_eq!(request.command, CommandLine::Shell("make | tee log".into()));
    assert_eq!(request.cwd_in_guest(), b"/workspace/src");
    assert_eq!((request.env.len(), request.user.as_deref()), (2, Some("nobody")));
    assert_eq!((request.idempotency_key.as_deref(), request.stdin), (Some("k"), true));
    assert_eq!(request.timeout(), Some(30));
    let line = ["exec", "fix", "--detach", "--", "sleep", "1"];
    let detached = parsed!(Command::Exec(arguments) => arguments.to_request(true).unwrap(), line);
    assert!(detached.detach && !detached.stdin && detached.timeout().is_none());
    let secret = ["exec", "fix", "--secret-env", "TOKEN", "--", "true"];
    let error = parsed!(Command::Exec(arguments) => arguments.to_request(false).unwrap_err(), secret);
    assert_eq!(error.code, ErrorCode::NotYetSupported);
    let error =
        parsed!(Command::Exec(arguments) => arguments.to_request(false).unwrap_err(), ["exec", "fix"]);
    assert_eq!((error.code.clone(), error.code.exit_status()), (ErrorCode::MissingCommand, 2));
    is_refused(&["exec", "--", "true"]);
    is_refused(&["exec", "fix", "--env", "A", "--", "true"]);
    is_refused(&["exec", "fix", "--detach", "--interactive", "--", "true"]);
}

#[test]
fn jobs_are_named_by_id_or_number() {
    for name in ["c7", "7"] {
        let line = ["job", "wait", "fix", name, "--timeout-seconds", "3"];
        let request = parsed!(Command::Job(job::Command::Wait(arguments)) => arguments.to_request(), line);
        assert_eq!((request.job, request.follow, request.timeout_seconds), (CommandRef(7), true, Some(3)));
        let line = ["job", "kill", "fix", name, "--signal", "sigkill"];
        let request = parsed!(Command::Job(job::Command::Kill(arguments)) => arguments.to_request(), line);
        assert_eq!((request.job, request.signal), (CommandRef(7), JobSignal::Kill));
        assert!(parse(&["job", "logs", "fix", name, "--max-bytes", "10"]).is_ok());
    }
    assert!(parse(&["job", "list", "fix", "--running", "--json"]).unwrap().json());
    is_refused(&["job", "wait", "fix"]);
    is_refused(&["job", "wait", "fix", "x7"]);
    is_refused(&["job", "kill", "fix", "c7", "--signal", "STOP"]);
    is_refused(&["job"]);
}

#[test]
fn logs_are_the_history_or_a_part_of_one_output() {
    let line = ["logs", "fix", "--limit", "5", "--failed", "--before", "9", "--no-output"];
    let request = parsed!(Command::Logs(arguments) => arguments.to_request(), line);
    assert_eq!(
        (request.limit, request.failed, request.before, request.with_output),
        (5, true, Some(9), false)
    );
    for line in [
        &["logs", "fix", "3", "--stderr", "--from", "10", "--lines", "5", "--grep", "err", "-i"][..],
        &["output", "fix", "3", "--stderr", "--from", "10", "--lines", "5", "--grep", "err", "-i"],
    ] {
        assert!(parse(line).is_ok(), "{line:?}");
    }
    is_refused(&["logs", "fix", "3", "--failed"]);
    is_refused(&["logs", "fix", "--before", "1", "--after", "2"]);
    is_refused(&["output", "fix"]);
    is_refused(&["output", "fix", "3", "--stdout", "--stderr"]);
    is_refused(&["output", "fix", "3", "--from", "1", "--tail", "2"]);
    is_refused(&["output", "fix", "3", "--lines", "1", "--tail", "2"]);
    is_refused(&["output", "fix", "3", "--from-byte", "1", "--grep", "x"]);
    is_refused(&["output", "fix", "3", "-i"]);
}

#[test]
fn parts_of_outputs_are_asked_for_by_line_or_byte() {
    use clap::Args as _;
    let piece = |line: &[&str]| {
        let command = super::output::PieceFlags::augment_args(clap::Command::new("piece"));
        let matches = command.get_matches_from([&["piece"], line].concat());
        let flags = <super::output::PieceFlags as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
        (flags.check_unused().is_ok(), flags.to_request("fix".parse().unwrap(), CommandRef(3)))
    };
    let (unused, request) = piece(&["--stderr", "--from-byte", "7", "--max-bytes", "9"]);
    assert!(!unused);
    assert_eq!((request.stream, request.from_byte, request.max_bytes), (OutputStream::Stderr, Some(7), 9));
    assert_eq!(request.encoding, WantedEncoding::Auto);
    assert!(piece(&[]).0);
    for used in [&["--stdout"][..], &["--lines", "1"], &["--tail", "1"], &["--grep", "x"], &["--from", "1"]] {
        assert!(!piece(used).0, "{used:?}");
    }
}

#[test]
fn files_are_listed_and_read() {
    let line = ["file", "list", "fix", "--recursive", "src", "--limit", "9"];
    let request = parsed!(Command::File(file::Command::List(arguments)) => arguments.to_request(), line);
    assert_eq!((request.path, request.recursive, request.limit), ("src".into(), true, 9));
    let line = ["file", "list", "fix"];
    let request = parsed!(Command::File(file::Command::List(arguments)) => arguments.to_request(), line);
    assert_eq!((request.path, request.recursive), ("/workspace".into(), false));
    let line = ["file", "read", "fix", "a b", "--lines", "3:5", "--encoding", "base64", "--max-bytes", "7"];
    let request = parsed!(Command::File(file::Command::Read(arguments)) => arguments.to_request(), line);
    assert_eq!((request.first_line, request.last_line, request.max_bytes), (Some(3), Some(5), 7));
    assert_eq!((request.encoding, request.path), (WantedEncoding::Base64, "a b".into()));
    assert!(parse(&["file", "read", "fix", "a", "--raw"]).is_ok());
    is_refused(&["file", "read", "fix", "a", "--content-only", "--json"]);
    is_refused(&["file", "read", "fix", "a", "--raw", "--json"]);
    is_refused(&["file", "read", "fix", "a", "--offset", "1", "--lines", "1:2"]);
    is_refused(&["file", "read", "fix", "a", "--lines", "0:2"]);
    is_refused(&["file", "read", "fix"]);
}

#[test]
fn files_are_written_from_one_source() {
    let line = ["file", "write", "fix", "a", "--text", "--x\n", "--mode", "755", "--lines", "5:4"];
    let request = parsed!(Command::File(file::Command::Write(arguments)) => arguments.to_request(b"--x\n".to_vec()).unwrap(), line);
    assert_eq!((request.mode, request.text.as_deref()), (Some(FileMode(0o755)), Some("--x\n")));
    assert_eq!((request.first_line, request.last_line), (Some(5), Some(4)));
    let line = ["file", "write", "fix", "a", "--stdin", "--create-only"];
    let request = parsed!(Command::File(file::Command::Write(arguments)) => arguments.to_request(vec![0xff]).unwrap(), line);
    assert_eq!((request.text, request.content_base64.as_deref()), (None, Some("/w==")));
    is_refused(&["file", "write", "fix", "a"]);
    is_refused(&["file", "write", "fix", "a", "--text", "x", "--stdin"]);
    is_refused(&["file", "write", "fix", "a", "--text", "x", "--text-file", "y"]);
    is_refused(&["file", "write", "fix", "a", "--text", "x", "--mode", "rw"]);
    is_refused(&["file", "write", "fix", "a", "--text", "x", "--append", "--create-only"]);
}

#[test]
fn text_is_replaced_by_text() {
    let line = ["file", "replace", "fix", "a", "--old", "- x", "--new", "", "--count", "0"];
    let request =
        parsed!(Command::File(file::Command::Replace(arguments)) => arguments.to_request().unwrap(), line);
    assert_eq!((request.old_text, request.new_text, request.count), ("- x".into(), "".into(), 0));
    is_refused(&["file", "replace", "fix", "a", "--old", "x"]);
    is_refused(&["file", "replace", "fix", "a", "--new", "x"]);
    is_refused(&["file", "replace", "fix", "a", "--old", "x", "--old-file", "y", "--new", "z"]);
}

#[test]
fn files_are_found_moved_and_deleted() {
    let line = ["file", "grep", "fix", "-e x", "src", "-F", "-i", "-C", "2", "--include", "*.rs", "-l"];
    let request = parsed!(Command::File(file::Command::Grep(arguments)) => arguments.to_request(), line);
    assert_eq!((request.pattern.as_str(), request.context, request.include.len()), ("-e x", 2, 1));
    assert!(request.fixed && request.ignore_case && request.names_only);
    let line = ["file", "glob", "fix", "**/*.rs", "--path", "src", "--respect-gitignore", "--skip-hidden"];
    let request = parsed!(Command::File(file::Command::Glob(arguments)) => arguments.to_request(), line);
    assert_eq!((request.pattern.as_str(), request.path), ("**/*.rs", "src".into()));
    for line in [
        &["file", "stat", "fix", "a", "--sha256"][..],
        &["file", "mkdir", "fix", "a/b", "--mode", "0700", "--create-only"],
        &["file", "move", "fix", "a", "b", "--overwrite"],
        &["file", "copy", "fix", "a", "b", "--recursive", "--overwrite"],
        &["file", "delete", "fix", "a", "-r", "--missing-ok"],
        &["file", "upload", "fix", "-", "a", "--mode", "600", "--create-only"],
        &["file", "download", "fix", "a", "-", "--force"],
    ] {
        assert!(parse(line).is_ok(), "{line:?}");
        is_refused(&line[..3]);
    }
    is_refused(&["file", "move", "fix", "a"]);
    is_refused(&["file"]);
}

#[test]
fn patches_come_from_one_source() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.patch");
    std::fs::write(&file, "--- a\n").unwrap();
    for source in [["--patch", "--- a\n"], ["--patch-file", file.to_str().unwrap()]] {
        let line = [&["patch", "apply", "fix", "--check", "-R"], &source[..]].concat();
        let Command::Patch(patch::Command::Apply(arguments)) = parse(&line).unwrap() else {
            panic!("{line:?}")
        };
        let request = arguments.to_request().unwrap();
        assert_eq!((request.patch, request.check, request.reverse), ("--- a\n".into(), true, true));
    }
    let line = ["patch", "apply", "fix", "--patch-file", "/nonexistent"];
    let error = parsed!(Command::Patch(patch::Command::Apply(arguments)) => arguments.to_request().unwrap_err(), line);
    assert_eq!(error.code, ErrorCode::FileFailed);
    assert!(parse(&["patch", "apply", "fix", "--stdin"]).is_ok());
    is_refused(&["patch", "apply", "fix"]);
    is_refused(&["patch", "apply", "fix", "--patch", "x", "--stdin"]);
}

#[test]
fn diff_takes_paths_and_a_side() {
    let line = ["diff", "fix", "src", "a b", "--against", "host", "--stat", "-U", "1", "--max-bytes", "10"];
    let request = parsed!(Command::Diff(arguments) => arguments.to_request(), line);
    assert_eq!((request.against, request.stat, request.context), (Against::Host, true, Some(1)));
    assert_eq!(request.paths, ["src".into(), "a b".into()]);
    is_refused(&["diff", "fix", "--stat", "--name-only"]);
    is_refused(&["diff", "fix", "--against", ""]);
    let line = ["diff", "try-1", "--against", "try-2"];
    let request = parsed!(Command::Diff(arguments) => arguments.to_request(), line);
    assert_eq!(request.against, Against::Workspace(WorkspaceRef::new("try-2").unwrap()));
}

#[test]
fn sync_goes_both_ways_with_absolute_host_paths() {
    let line =
        ["sync", "push", "fix", ".", "--dest", "lib", "--delete", "--exclude", "x", "--git", "--dry-run"];
    let request =
        parsed!(Command::Sync(sync::Command::Push(arguments)) => arguments.to_request().unwrap(), line);
    assert!(request.source_path.0.starts_with(b"/") && request.delete && request.git && request.dry_run);
    assert_eq!((request.dest, request.exclude.len()), ("lib".into(), 1));
    let line = ["sync", "pull", "fix", "--path", "src", "--exclude", "x", "--dry-run"];
    let request =
        parsed!(Command::Sync(sync::Command::Pull(arguments)) => arguments.to_request().unwrap(), line);
    assert_eq!((request.target_path, request.paths.len(), request.dry_run), (None, 1, true));
    let line = ["sync", "pull", "fix", "."];
    let request =
        parsed!(Command::Sync(sync::Command::Pull(arguments)) => arguments.to_request().unwrap(), line);
    assert!(request.target_path.unwrap().0.starts_with(b"/"));
    is_refused(&["sync", "push", "fix"]);
}

#[test]
fn exports_go_to_a_path_or_to_standard_output() {
    let line = ["export", "fix", "out", "--output", "result", "--force"];
    let request = parsed!(Command::Export(arguments) => arguments.to_request().unwrap(), line);
    assert!(request.output_path.unwrap().0.ends_with(b"/result"));
    assert_eq!((request.format, request.force), (ExportFormat::Tree, true));
    let line = ["export", "fix", "--output", "-", "--tar"];
    let request = parsed!(Command::Export(arguments) => arguments.to_request().unwrap(), line);
    assert_eq!((request.format, request.output_path), (ExportFormat::Tar, None));
    let line = ["export", "fix", "--output", "x.patch", "--patch"];
    let request = parsed!(Command::Export(arguments) => arguments.to_request().unwrap(), line);
    assert_eq!((request.format, request.path), (ExportFormat::Patch, "/workspace".into()));
    let line = ["export", "fix", "--output", "-"];
    let error = parsed!(Command::Export(arguments) => arguments.to_request().unwrap_err(), line);
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    is_refused(&["export", "fix", "out"]);
    is_refused(&["export", "fix", "out", "--output", "x", "--tar", "--patch"]);
}
