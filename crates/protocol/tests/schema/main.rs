//! Version 1 of the wire, written out and compared with `v1.txt`.
//!
//! Saved machines hold agents that speak it: a line may be added, none may change or go. When the test fails
//! after an addition, add the lines it prints.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::{Display, Write};

use prost::Message;
use pyro_protocol::{
    Kind, Nonce, StreamId,
    frame::{HEADER_BYTES, MAX_FRAME_BYTES, Seal},
    message::{
        Builtin, Close, Empty, ExitStatus, Failure, FailureCode, Hello, Hold, Individual, Individualize,
        Open, Overflow, PowerOff, ProcessInfo, ProcessRef, Processes, Reply, Request, SetClock, SetDeadline,
        Signal, SpoolRange, Start, Started, Stdin, StreamKind, Variable, reply, request,
    },
    mux::{MAX_CALLS, MAX_STREAMS, WINDOW_BYTES},
    sync::{BURST_BYTES, Magic, OPENING_BYTES},
    version,
};

/// A line for each field, found by encoding a message where it alone is set. Does not compile unless it lists all.
macro_rules! message {
    ($out:ident, $message:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let $message { $($field: _),* } = $message::default();
        $(
            #[allow(clippy::needless_update, reason = "messages of a single field")]
            let one = $message { $field: $value, ..$message::default() };
            line(&mut $out, concat!(stringify!($message), ".", stringify!($field)), tag(&one.encode_to_vec()));
        )*
    }};
}

macro_rules! variants {
    ($out:ident, $message:ident, $module:ident { $($variant:ident($value:expr)),* $(,)? }) => {{
        let all_listed = |body: &$module::Body| match body { $($module::Body::$variant(_) => {})* };
        $(
            let body = $module::Body::$variant($value);
            all_listed(&body);
            let name = concat!(stringify!($message), ".", stringify!($variant));
            line(&mut $out, name, tag(&$message { body: Some(body) }.encode_to_vec()));
        )*
    }};
}

macro_rules! numbers {
    ($out:ident, $enumeration:ident { $($variant:ident),* $(,)? }) => {{
        let all_listed = |value: $enumeration| match value { $($enumeration::$variant => {})* };
        $(
            all_listed($enumeration::$variant);
            line(&mut $out, concat!(stringify!($enumeration), ".", stringify!($variant)), $enumeration::$variant as i32);
        )*
    }};
}

mod work;

const COMMITTED: &str = include_str!("v1.txt");

/// Tag and wire type of the first field in an encoded message.
fn tag(encoded: &[u8]) -> String {
    let key = prost::decode_length_delimiter(encoded).expect("a value that differs from the default");
    let wire_type = ["varint", "fixed64", "bytes"][key & 7];
    format!("{} {wire_type}", key >> 3)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn line(out: &mut String, name: &str, value: impl Display) {
    writeln!(out, "{name} = {value}").unwrap();
}

fn rendering() -> String {
    let mut out = String::new();
    frames(&mut out);
    messages(&mut out);
    let mut of_work = String::new();
    work::messages(&mut of_work);
    // Names of their own: both have a `Read`.
    out.extend(of_work.lines().map(|line| format!("work {line}\n")));
    out
}

fn frames(out: &mut String) {
    let nonce = Nonce::new(*b"\x01\x02\x03\x04\x05\x06\x07\x08");
    line(out, "oldest version", version::OLDEST);
    line(out, "header bytes", HEADER_BYTES);
    line(out, "longest frame", MAX_FRAME_BYTES);
    line(out, "burst", BURST_BYTES);
    line(out, "opening", OPENING_BYTES);
    line(out, "window", WINDOW_BYTES);
    line(out, "streams", MAX_STREAMS);
    line(out, "calls", MAX_CALLS);
    line(out, "preamble of nonce 0102030405060708", hex(&Magic::Host.preamble(nonce)));
    line(out, "its acknowledgement", hex(&Magic::Guest.preamble(nonce)));
    let header = Seal::new(nonce).write(Kind::Data, StreamId::new(0x0a0b_0c0d), 0x1234);
    line(out, "its header of 0x1234 bytes of data on stream 0x0a0b0c0d", hex(&header));
    let mut frame = Vec::new();
    Seal::new(nonce)
        .append_frame(&mut frame, Kind::Data, StreamId::new(7), 3, |out| out.extend_from_slice(b"abc"));
    line(out, "its whole frame of `abc` on stream 7", hex(&frame));
    line(out, "feature", version::feature::GROW_DISK);
    line(out, "feature", version::feature::WORKSPACE);
    line(out, "feature", version::feature::HOLD);
    line(out, "feature", version::feature::PTY);
    line(out, "feature", version::feature::TCP);
    for kind in Kind::ALL {
        line(out, &format!("Kind.{kind:?}"), kind as u8);
    }
}

fn messages(text: &mut String) {
    let mut out = std::mem::take(text);
    let (name, bytes) = (|| "x".to_owned(), || vec![1]);
    message!(
        out,
        Hello {
            oldest_version: 1,
            newest_version: 1,
            features: vec![name()],
            release: name(),
            boot_id: bytes(),
        }
    );
    variants!(out, Request, request {
        Ping(Empty {}),
        Individualize(Individualize::default()),
        Start(Start::default()),
        Wait(ProcessRef::default()),
        Signal(Signal::default()),
        Remove(ProcessRef::default()),
        List(Empty {}),
        GrowDisk(Empty {}),
        SetDeadline(SetDeadline::default()),
        Sync(Empty {}),
        PowerOff(PowerOff::default()),
        SetClock(SetClock::default()),
        Hold(Hold::default()),
    });
    variants!(out, Reply, reply {
        Done(Empty {}),
        Failure(Failure::default()),
        Started(Started::default()),
        Exited(ExitStatus::default()),
        Processes(Processes::default()),
        Individual(Individual::default()),
    });
    message!(out, Failure { code: 1, message: name(), errno: 1 });
    numbers!(
        out,
        FailureCode {
            Unspecified,
            Invalid,
            UnknownProcess,
            DuplicateProcess,
            ProgramNotFound,
            ProgramNotExecutable,
            BadDirectory,
            Unsupported,
            Exhausted,
            StillRunning,
        }
    );
    message!(
        out,
        Individualize {
            entropy: bytes(),
            realtime_ns: 1,
            host_name: name(),
            machine_id: name(),
            deadline_ms: 1,
        }
    );
    message!(out, Individual { kernel_release: name(), kernel_boot_id: name() });
    message!(
        out,
        Start {
            id: name(),
            argv: vec![bytes()],
            cwd: bytes(),
            env: vec![Variable::default()],
            user: name(),
            timeout_ms: 1,
            stdin: 1,
            overflow: 1,
            spool_bytes: 1,
            max_tasks: 1,
            builtin: 1,
        }
    );
    numbers!(out, Builtin { None, FileWorker });
    message!(out, SetDeadline { deadline_ms: 1 });
    message!(out, SetClock { realtime_ns: 1 });
    message!(out, Hold { at_most_ms: 1 });
    message!(out, PowerOff { grace_ms: 1 });
    message!(out, Variable { name: bytes(), value: bytes() });
    numbers!(out, Stdin { Null, Stream });
    numbers!(out, Overflow { Block, DropOldest, BlockWhileRead });
    message!(out, Started { pid: 1 });
    message!(out, ProcessRef { id: name() });
    message!(out, Signal { id: name(), number: 1, whole_cgroup: true });
    message!(
        out,
        ExitStatus {
            code: Some(1),
            signal: Some(1),
            timed_out: true,
            duration_us: 1,
            stdout_bytes: 1,
            stderr_bytes: 1,
            out_of_memory: true,
        }
    );
    message!(out, Processes { processes: vec![ProcessInfo::default()] });
    message!(
        out,
        ProcessInfo {
            id: name(),
            pid: 1,
            exit: Some(ExitStatus::default()),
            stdout: Some(SpoolRange::default()),
            stderr: Some(SpoolRange::default()),
        }
    );
    message!(out, SpoolRange { first: 1, next: 1 });
    message!(out, Open { kind: 1, process: name(), offset: 1 });
    numbers!(out, StreamKind { Unspecified, Stdin, Stdout, Stderr, Pty, Tcp });
    message!(out, Close { failure: Some(Failure::default()), skipped_bytes: 1 });
    *text = out;
}

#[test]
fn version_1_is_as_it_was() {
    let rendering = rendering();
    let gone: Vec<_> = COMMITTED.lines().filter(|line| !rendering.lines().any(|now| now == *line)).collect();
    assert!(gone.is_empty(), "saved guests speak what is gone or changed: {gone:#?}");
    let new: Vec<_> = rendering.lines().filter(|line| !COMMITTED.lines().any(|was| was == *line)).collect();
    assert!(new.is_empty(), "not in v1.txt yet:\n{}", new.join("\n"));
}
