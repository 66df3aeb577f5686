//! What a worker makes of whatever comes through its pipe.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use proptest::prelude::*;
use prost::Message as _;
use pyro_guest::worker::{self, Mount};
use pyro_guest::workspace_mount::OverlayAttributes;
use pyro_protocol::work::{
    EndOfInput, MAX_WORK_BYTES, PathRef, Read as ReadFile, WorkFailureCode, WorkReply, WorkRequest, Write,
    work_reply, work_request::Body,
};

/// Gives what comes in parts of such sizes, over and over.
struct InParts<'a> {
    bytes: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for InParts<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        let most = self.sizes[self.turn % self.sizes.len()];
        let count = most.min(target.len()).min(self.bytes.len());
        target[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

fn message(body: Body) -> Vec<u8> {
    framed(&WorkRequest { body: Some(body) }.encode_to_vec())
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

fn stat(path: &str) -> Vec<u8> {
    message(Body::Stat(PathRef { path: path.into(), with_sha256: false }))
}

fn write(path: &str, pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = message(Body::Write(Write { path: path.into(), ..Write::default() }));
    for piece in pieces {
        bytes.extend(message(Body::Data(piece.to_vec().into())));
    }
    bytes.extend(message(Body::End(EndOfInput::default())));
    bytes
}

/// The replies to some bytes, and how the worker ended.
fn replies(workspace: &Path, input: impl Read) -> (Vec<work_reply::Body>, io::Result<()>) {
    let disk = fs::File::open(workspace).unwrap().into();
    let mut output = Vec::new();
    // Nonsense may be a request to mount.
    let mount = Mount { mount: |_disk, _target| Ok(()), attributes: OverlayAttributes::Trusted };
    let ended = worker::run_with(workspace, disk, mount, input, &mut output);
    let (mut replies, mut rest) = (Vec::new(), output.as_slice());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (reply, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        replies.push(WorkReply::decode(reply).unwrap().body.unwrap());
        rest = behind;
    }
    assert!(rest.is_empty());
    (replies, ended)
}

/// Each final reply as a word.
fn words(replies: &[work_reply::Body]) -> Vec<String> {
    replies
        .iter()
        .map(|reply| match reply {
            work_reply::Body::Failure(failure) => format!("{:?}", failure.code()),
            work_reply::Body::Entry(_) => "entry".to_owned(),
            work_reply::Body::Written(written) => format!("written {}", written.written_bytes),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn what_is_no_request_is_answered_and_the_next_is_served() {
    let workspace = tempfile::tempdir().unwrap();
    let garbage = framed(b"\xff\xff\xff");
    let newer = framed(&[0xca, 0x3e, 2, 1, 2]);
    let input = [garbage, newer, framed(b""), stat("")].concat();
    let (replies, ended) = replies(workspace.path(), input.as_slice());
    assert_eq!(words(&replies), ["Unsupported", "Unsupported", "Unsupported", "entry"]);
    ended.unwrap();
}

#[test]
fn input_that_nobody_takes_is_thrown_away() {
    let workspace = tempfile::tempdir().unwrap();
    let large = vec![1; 200_000];
    let input = [
        message(Body::Data(large.clone().into())),
        write("../x", &[&large, b"", &large]),
        message(Body::End(EndOfInput::default())),
        stat("missing"),
        write("x", &[b"a", b"", &large]),
        stat("x"),
    ]
    .concat();
    let (replies, ended) = replies(workspace.path(), input.as_slice());
    assert_eq!(words(&replies), ["Invalid", "NotFound", "written 200001", "entry"]);
    ended.unwrap();
}

#[test]
fn a_host_that_is_gone_changes_nothing_and_ends_the_worker() {
    let workspace = tempfile::tempdir().unwrap();
    let whole = write("x", &[&[1; 100_000], &[2; 100_000]]);
    for end in [1, 5, 20, 50_000, 100_100, whole.len() - 1] {
        let (replies, ended) = replies(workspace.path(), &whole[..end]);
        assert_eq!(words(&replies), [""; 0], "{end}");
        ended.unwrap();
        assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0, "{end}");
    }
}

#[test]
fn a_request_in_place_of_data_ends_the_worker_and_changes_nothing() {
    let workspace = tempfile::tempdir().unwrap();
    let request = message(Body::Write(Write { path: b"x".into(), ..Write::default() }));
    let input = [request, message(Body::Data(b"a".to_vec().into())), stat(""), stat("")].concat();
    let (replies, _ended) = replies(workspace.path(), input.as_slice());
    assert_eq!(words(&replies), [""; 0]);
    assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0);
}

#[test]
fn a_length_that_no_message_has_ends_the_worker() {
    let workspace = tempfile::tempdir().unwrap();
    for length in [u32::try_from(MAX_WORK_BYTES).unwrap() + 1, u32::MAX] {
        let (replies, ended) = replies(workspace.path(), &length.to_le_bytes()[..]);
        assert!(replies.is_empty());
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn the_longest_messages_are_taken_and_a_quoted_path_fits_into_an_answer() {
    let workspace = tempfile::tempdir().unwrap();
    let data = vec![3; MAX_WORK_BYTES - 5];
    let path = "\u{1}".repeat(MAX_WORK_BYTES - 20);
    let input = [write("x", &[&data, &data]), stat(&path), stat("x")].concat();
    let (replies, ended) = replies(workspace.path(), input.as_slice());
    assert_eq!(words(&replies), [&format!("written {}", 2 * data.len()), "Invalid", "entry"]);
    ended.unwrap();
}

#[test]
fn a_workspace_that_is_missing_is_a_failure_of_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let disk = fs::File::open(directory.path()).unwrap().into();
    let mut output = Vec::new();
    worker::run(&directory.path().join("missing"), disk, stat("").as_slice(), &mut output).unwrap();
    let reply = WorkReply::decode(&output[4..]).unwrap();
    let Some(work_reply::Body::Failure(failure)) = reply.body else { panic!("{reply:?}") };
    assert_eq!(failure.code(), WorkFailureCode::Unspecified);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_does_not_matter_in_what_parts_bytes_come(
        pieces in proptest::collection::vec(0_usize..300_000, 0..5),
        sizes in proptest::collection::vec(prop_oneof![1_usize..40, 1_usize..400_000], 1..6),
    ) {
        let workspace = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|index| (index ^ index >> 8).to_le_bytes()[0]).collect();
        let (mut split, mut rest) = (Vec::new(), content.as_slice());
        for piece in &pieces {
            let (head, tail) = rest.split_at(*piece);
            split.push(head);
            rest = tail;
        }
        let read = message(Body::Read(ReadFile { path: b"x".into(), ..ReadFile::default() }));
        let bytes = [write("x", &split), read, stat("x")].concat();
        // Parts of a few bytes alone would take too long.
        let sizes = sizes.iter().map(|size| size + content.len() / 1000).collect();
        let (replies, ended) = replies(workspace.path(), InParts { bytes: &bytes, sizes, turn: 0 });
        ended.unwrap();
        prop_assert_eq!(fs::read(workspace.path().join("x")).unwrap() == content, true);
        let mut data = Vec::new();
        for reply in &replies {
            if let work_reply::Body::Data(piece) = reply {
                data.extend_from_slice(piece);
            }
        }
        prop_assert!(data == content);
    }

    #[test]
    fn nonsense_never_brings_it_down(bytes in proptest::collection::vec(any::<u8>(), 0..200), framed_up: bool) {
        let workspace = tempfile::tempdir().unwrap();
        let input = if framed_up { bytes.chunks(20).flat_map(framed).collect() } else { bytes };
        let (_replies, _ended) = replies(workspace.path(), input.as_slice());
    }
}
