//! A daemon that answers each operation as the test wants, also several at once, and remembers what it was asked.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, mpsc},
};

use pyro_api::frame::{Decoder, Frame, Kind};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One answer.
pub(crate) enum Answer {
    /// One JSON body, with that HTTP status.
    Json(u16, Value),
    /// Frames, and then the end of the connection; without a result that is a daemon that was lost.
    Frames(Vec<Frame>),
    /// Frames, and then nothing until the client goes away.
    Held(Vec<Frame>),
}

type Answering = dyn Fn(&str, &Value) -> Answer + Send + Sync;

/// The daemon; it lives as long as the test's process.
pub(crate) struct Daemon {
    home: TempDir,
    asked: mpsc::Receiver<(String, Value)>,
}

impl Daemon {
    /// Answers an operation, named without `/v1/`, and its request.
    pub(crate) fn answering(answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("run")).unwrap();
        let listener = UnixListener::bind(home.path().join("run/daemon.sock")).unwrap();
        let (tell, asked) = mpsc::channel();
        let answer: Arc<Answering> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, answer, tell) = (stream.unwrap(), Arc::clone(&answer), tell.clone());
                std::thread::spawn(move || serve(&stream, &*answer, &tell));
            }
        });
        Self { home, asked }
    }

    /// One that must not be asked anything.
    pub(crate) fn idle() -> Self {
        Self::answering(|operation, _| panic!("asked for {operation}"))
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The next request of that operation; others before it are passed over.
    pub(crate) fn wait_for(&self, operation: &str) -> Value {
        loop {
            let (asked, request) = self.asked.recv().unwrap();
            if asked == operation {
                return request;
            }
        }
    }

    /// All that it was asked so far and that nobody waited for.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.try_iter().collect()
    }
}

fn serve(stream: &UnixStream, answer: &Answering, tell: &mpsc::Sender<(String, Value)>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let operation = head.split(' ').nth(1).unwrap().trim_start_matches("/v1/").to_owned();
    let is_streaming = head.to_lowercase().contains("content-type: application/vnd.pyro.frames");
    let request = if is_streaming { first_frame(&mut reader) } else { json_body(&mut reader) };
    let _told = tell.send((operation.clone(), request.clone()));
    // Where the client has gone already, nobody reads the answer.
    let _written = write(stream, &mut reader, answer(&operation, &request));
}

fn write(mut stream: &UnixStream, reader: &mut impl std::io::Read, answer: Answer) -> std::io::Result<()> {
    let mut frames = |frames: Vec<Frame>| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
        frames.iter().try_for_each(|frame| stream.write_all(&frame.encode().unwrap()))
    };
    match answer {
        Answer::Json(status, body) => {
            let body = body.to_string();
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(text.as_bytes())
        }
        Answer::Frames(list) => frames(list),
        Answer::Held(list) => {
            frames(list)?;
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map(drop)
        }
    }
}

/// A chunk of a body with `transfer-encoding: chunked`.
fn chunk(reader: &mut impl std::io::BufRead) -> Vec<u8> {
    let mut length = String::new();
    reader.read_line(&mut length).unwrap();
    let length = usize::from_str_radix(length.trim(), 16).unwrap();
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

fn json_body(reader: &mut impl std::io::BufRead) -> Value {
    let mut body = Vec::new();
    loop {
        body.extend(chunk(reader));
        if let Ok(request) = serde_json::from_slice(&body) {
            return request;
        }
    }
}

fn first_frame(reader: &mut impl std::io::BufRead) -> Value {
    let mut decoder = Decoder::default();
    loop {
        decoder.push(&chunk(reader));
        if let Some(frame) = decoder.next_frame().unwrap() {
            assert_eq!(frame.kind, Kind::Request);
            return serde_json::from_slice(&frame.payload).unwrap();
        }
    }
}

/// Frames of a command: it is on record as `c7`.
pub(crate) fn started() -> Frame {
    let event = json!({"event": "started", "sequence": 7, "job_id": "c7", "attached": false});
    Frame::json(Kind::Event, &event).unwrap()
}

pub(crate) fn stdout(bytes: &[u8]) -> Frame {
    Frame { kind: Kind::Stdout, payload: bytes.to_vec().into() }
}

pub(crate) fn result(value: &Value) -> Frame {
    Frame::json(Kind::Result, value).unwrap()
}

/// How a command ended.
pub(crate) fn report(state: &str, exit_code: Option<i32>) -> Value {
    json!({
        "workspace_id": "0123456789ab", "environment": "debian:12", "environment_version": null, "command": "x",
        "exit_code": exit_code, "duration_ms": 5, "execution_mode": "guest_vsock", "sequence": 7, "cwd": "/workspace",
        "job_id": "c7", "state": state, "attached": false, "signal": null, "timed_out": false,
        "out_of_memory": false, "isolation": "emulated", "stdout_bytes": 5, "stderr_bytes": 0,
    })
}

/// A command that wrote this and ended so.
pub(crate) fn ended(written: &[u8], exit_code: i32) -> Answer {
    Answer::Frames(vec![started(), stdout(written), result(&report("finished", Some(exit_code)))])
}

pub(crate) fn refusal(code: &str) -> Answer {
    Answer::Json(400, json!({"ok": false, "error": "no", "code": code, "hint": null, "retryable": false}))
}
