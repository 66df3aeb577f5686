//! The host's end of a file worker that runs as a thread of the test.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use prost::Message as _;
use pyro_guest::worker::{self, Mount};
use pyro_protocol::work::{
    Change, DATA_BYTES, EndOfInput, Entry, Match, WorkFailureCode, WorkReply, WorkRequest, work_reply,
    work_request,
};
use pyro_tree::archive::Writer;
use pyro_tree::beneath::Root;
use pyro_tree::pack::Packer;
use pyro_tree::path::RelativePath;
use pyro_tree::walk::Everything;

/// A worker and the way to it.
pub(crate) struct Worker {
    stream: UnixStream,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Everything that a request was answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) data: Vec<u8>,
    pub(crate) changes: Vec<Change>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) matches: Vec<Match>,
    pub(crate) last: work_reply::Body,
}

impl Answer {
    pub(crate) fn failure(&self) -> Option<WorkFailureCode> {
        match &self.last {
            work_reply::Body::Failure(failure) => Some(failure.code()),
            _ => None,
        }
    }

    /// The answer, which is no failure.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        if let work_reply::Body::Failure(failure) = &self.last {
            panic!("{:?}: {}", failure.code(), failure.message);
        }
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

impl Worker {
    pub(crate) fn start(workspace: &Path, disk: &Path, mount: Mount) -> Self {
        let (stream, other) = UnixStream::pair().unwrap();
        let disk = std::fs::File::open(disk).unwrap().into();
        let workspace = workspace.to_owned();
        let output = other.try_clone().unwrap();
        let thread = std::thread::spawn(move || worker::run_with(&workspace, disk, mount, other, output));
        Self { stream, thread: Some(thread) }
    }

    pub(crate) fn ask(&mut self, request: work_request::Body) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Asks with input, whole.
    pub(crate) fn ask_with(&mut self, request: work_request::Body, input: &[u8]) -> Answer {
        self.send(request);
        self.send_input(input, "");
        self.answer()
    }

    pub(crate) fn send(&mut self, body: work_request::Body) {
        let bytes = WorkRequest { body: Some(body) }.encode_to_vec();
        self.stream.write_all(&u32::try_from(bytes.len()).unwrap().to_le_bytes()).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn send_input(&mut self, input: &[u8], abandoned: &str) {
        for piece in input.chunks(DATA_BYTES) {
            self.send(work_request::Body::Data(piece.to_vec().into()));
        }
        self.send(work_request::Body::End(EndOfInput { abandoned: abandoned.to_owned() }));
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let (mut data, mut changes, mut entries, mut matches) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        loop {
            match self.reply() {
                work_reply::Body::Data(piece) => data.extend_from_slice(&piece),
                work_reply::Body::Changed(changed) => changes.extend(changed.changes),
                work_reply::Body::Entries(more) => entries.extend(more.entries),
                work_reply::Body::Matches(more) => matches.extend(more.matches),
                last => return Answer { data, changes, entries, matches, last },
            }
        }
    }

    fn reply(&mut self) -> work_reply::Body {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut bytes).unwrap();
        WorkReply::decode(bytes.as_slice()).unwrap().body.unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// The tar stream of a directory, as the host sends it.
pub(crate) fn archive(directory: &Path) -> Vec<u8> {
    let root = Root::open(directory).unwrap();
    let mut writer = Writer::new(Vec::new());
    let mut packer = Packer::new(&root, &mut writer).unwrap();
    packer.append_tree(&RelativePath::root(), &mut Everything).unwrap();
    let packed = packer.finish();
    assert!(packed.notes.is_empty(), "{:?}", packed.notes);
    writer.finish().unwrap()
}

/// Everything below a directory, one line for each path: kind, mode, and content or target.
pub(crate) fn snapshot(root: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let name = path.strip_prefix(root).unwrap().display();
            lines.push(if metadata.is_dir() {
                pending.push(path.clone());
                format!("{name} d{mode:o}")
            } else if metadata.is_symlink() {
                format!("{name} -> {}", std::fs::read_link(&path).unwrap().display())
            } else {
                format!("{name} f{mode:o} {}", std::fs::read(&path).unwrap().escape_ascii())
            });
        }
    }
    lines.sort();
    lines
}
