//! Two ends talk over a pipe that is cut into any pieces and loses its host at any byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod talk;

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use prost::Message;
use pyro_protocol::{
    Event, Kind, Mux, Nonce, ProtocolError, SendError, StreamId,
    frame::{HEADER_BYTES, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, Seal},
    message::{Close, Failure, Hello, Open, ProcessRef, Reply, Request, request},
    mux::{CONTROL_QUEUE_BYTES, MAX_STREAMS, SEND_QUEUE_BYTES, WINDOW_BYTES},
    sync::{BURST_BYTES, Magic, OPENING_BYTES},
};

const NONCE: Nonce = Nonce::new(*b"\x01\x02\x03\x04nnnn");

fn nonce(number: u8) -> Nonce {
    Nonce::new([number, 1, 2, 3, 4, 5, 6, number])
}

fn written(mux: &mut Mux) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = mux.transmit().to_vec();
        if bytes.is_empty() {
            return all;
        }
        mux.transmitted(bytes.len());
        all.extend(bytes);
    }
}

fn events(mux: &mut Mux) -> Vec<Event> {
    std::iter::from_fn(|| mux.next_event()).collect()
}

fn settle(host: &mut Mux, guest: &mut Mux) {
    loop {
        let (to_guest, to_host) = (written(host), written(guest));
        if to_guest.is_empty() && to_host.is_empty() {
            return;
        }
        guest.receive(&to_guest).unwrap();
        host.receive(&to_host).unwrap();
    }
}

fn established() -> (Mux, Mux) {
    let (mut host, mut guest) = (Mux::host(NONCE), Mux::guest());
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Established { nonce: NONCE }]);
    assert_eq!(events(&mut guest), [Event::Established { nonce: NONCE }]);
    (host, guest)
}

fn opened(host: &mut Mux) -> StreamId {
    let stream = host.allocate().unwrap();
    host.send(Kind::Open, stream, &Open::default()).unwrap();
    stream
}

#[test]
fn a_call_is_answered_once() {
    let (mut host, mut guest) = established();
    let call = host.allocate().unwrap();
    host.send(Kind::Call, call, &Request::default()).unwrap();
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut guest), [Event::Message { kind: Kind::Call, stream: call, body: vec![] }]);
    guest.send(Kind::Reply, call, &Reply::default()).unwrap();
    assert_eq!(guest.send(Kind::Reply, call, &Reply::default()), Err(SendError::UnknownStream));
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Message { kind: Kind::Reply, stream: call, body: vec![] }]);
}

#[test]
fn messages_are_refused_where_they_do_not_belong() {
    let (mut host, mut guest) = established();
    let stream = opened(&mut host);
    assert_eq!(host.send(Kind::Reply, stream, &Reply::default()), Err(SendError::Misplaced(Kind::Reply)));
    assert_eq!(guest.send(Kind::Call, stream, &Request::default()), Err(SendError::Misplaced(Kind::Call)));
    assert_eq!(host.send(Kind::Data, stream, &Request::default()), Err(SendError::Misplaced(Kind::Data)));
    assert_eq!(guest.allocate(), Err(SendError::TooMany));
    assert_eq!(
        Mux::guest().send(Kind::Control, StreamId::CONTROL, &Hello::default()),
        Err(SendError::NoSession)
    );
    let long = Hello { release: "x".repeat(MAX_PAYLOAD_BYTES), ..Hello::default() };
    let refused = host.send(Kind::Control, StreamId::CONTROL, &long);
    assert_eq!(refused, Err(SendError::TooLong { bytes: long.encoded_len() }));
}

#[test]
fn unsent_messages_and_open_streams_are_bounded() {
    let (mut host, _guest) = established();
    let streams: Vec<_> = (0..MAX_STREAMS).map(|_| opened(&mut host)).collect();
    let stream = host.allocate().unwrap();
    assert_eq!(host.send(Kind::Open, stream, &Open::default()), Err(SendError::TooMany));
    let call = host.allocate().unwrap();
    host.send(Kind::Call, call, &Request::default()).unwrap();
    let hello = Hello { release: "x".repeat(60_000), ..Hello::default() };
    let mut queued = 0;
    while host.send(Kind::Control, StreamId::CONTROL, &hello).is_ok() {
        queued += 1;
    }
    assert!(queued < 20, "{queued} hellos wait");
    assert!(queued * 60_000 < CONTROL_QUEUE_BYTES);
    // A close is part of its stream: it is never refused for want of room.
    for stream in streams {
        assert_eq!(host.send(Kind::Close, stream, &Close::default()), Ok(()));
    }
}

#[test]
fn control_overtakes_data_and_streams_take_turns() {
    let (mut host, mut guest) = established();
    let [one, two] = [opened(&mut host), opened(&mut host)];
    settle(&mut host, &mut guest);
    events(&mut guest);
    for stream in [one, two] {
        assert_eq!(host.send_data(stream, &vec![1; SEND_QUEUE_BYTES]), SEND_QUEUE_BYTES);
    }
    let begun = host.transmit().to_vec();
    let (now, later) = begun.split_at(1000);
    host.transmitted(now.len());
    let call = host.allocate().unwrap();
    host.send(Kind::Call, call, &Request::default()).unwrap();
    assert_eq!(host.transmit(), later, "a frame begun is finished");
    host.transmitted(later.len());
    guest.receive(&begun).unwrap();
    guest.receive(&written(&mut host)).unwrap();
    let order: Vec<_> = events(&mut guest)
        .into_iter()
        .map(|event| match event {
            Event::Data { stream, bytes } if bytes.len() == MAX_PAYLOAD_BYTES => stream,
            Event::Message { kind: Kind::Call, stream, .. } => stream,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [one, call, two, one, two]);
}

#[test]
fn small_frames_travel_together() {
    let (mut host, _guest) = established();
    for _ in 0..10 {
        let call = host.allocate().unwrap();
        host.send(Kind::Call, call, &Request::default()).unwrap();
    }
    assert_eq!(host.transmit().len(), 10 * HEADER_BYTES);
}

#[test]
fn a_close_waits_for_its_data_and_both_closes_end_a_stream() {
    let (mut host, mut guest) = established();
    let stream = opened(&mut host);
    assert_eq!(host.send_data(stream, b"all of it"), 9);
    host.send(Kind::Close, stream, &Close::default()).unwrap();
    assert_eq!(host.send_data(stream, b"late"), 0);
    assert_eq!(host.send(Kind::Close, stream, &Close::default()), Err(SendError::UnknownStream));
    settle(&mut host, &mut guest);
    let heard = events(&mut guest);
    assert_eq!(heard[1], Event::Data { stream, bytes: b"all of it".to_vec() });
    assert_eq!(heard[2], Event::Closed { stream, close: Close::default() });
    assert_eq!(guest.send_data(stream, b"the other way"), 13, "directions end one by one");
    let close = Close { skipped_bytes: 5, ..Close::default() };
    guest.send(Kind::Close, stream, &close).unwrap();
    settle(&mut host, &mut guest);
    let heard = events(&mut host);
    assert_eq!(heard.last(), Some(&Event::Closed { stream, close }));
    assert_eq!(guest.sendable(stream), 0, "forgotten");
}

#[test]
fn credit_comes_back_as_bytes_are_consumed_and_rouses_the_sender() {
    let (mut host, mut guest) = established();
    let stream = opened(&mut host);
    settle(&mut host, &mut guest);
    events(&mut guest);
    let window = WINDOW_BYTES as usize;
    let mut sent = 0;
    while guest.sendable(stream) > 0 {
        sent += guest.send_data(stream, &[3; 10_000]);
        settle(&mut host, &mut guest);
    }
    assert_eq!(sent, window);
    events(&mut guest);
    host.grant(stream, 1);
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut guest), [], "no frame for a single byte");
    host.grant(stream, WINDOW_BYTES);
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut guest), [Event::Credit { stream }]);
    while guest.sendable(stream) > 0 {
        sent += guest.send_data(stream, &[3; 10_000]);
        settle(&mut host, &mut guest);
    }
    assert_eq!(sent, 2 * window, "no more was granted than was consumed");
}

#[test]
fn what_a_guest_may_not_do_ends_the_session_for_good() {
    let seal = Seal::new(NONCE);
    let frame = |kind, stream, payload: &[u8]| {
        let mut frame = Vec::new();
        seal.append_frame(&mut frame, kind, stream, payload.len(), |out| out.extend_from_slice(payload));
        frame
    };
    let (host, _) = established();
    let mut probe = host;
    let stream = opened(&mut probe);
    let unknown = StreamId::new(stream.number() + 1);
    let full = vec![0; MAX_PAYLOAD_BYTES];
    let beyond = [frame(Kind::Data, stream, &full).repeat(4), frame(Kind::Data, stream, &[0; 81])].concat();
    let mut torn = frame(Kind::Data, stream, b"whole");
    torn.truncate(torn.len() - 4);
    torn.extend_from_slice(b"PYRO");
    let closed_twice = frame(Kind::Close, stream, &[]).repeat(2);
    let kind = Kind::Data;
    for (bytes, breach) in [
        (beyond, ProtocolError::CreditExceeded { stream }),
        (frame(kind, unknown, b"x"), ProtocolError::UnknownStream { kind, stream: unknown }),
        (frame(Kind::Reply, stream, b""), ProtocolError::UnknownStream { kind: Kind::Reply, stream }),
        (closed_twice, ProtocolError::UnknownStream { kind: Kind::Close, stream }),
        (frame(Kind::Call, unknown, b""), ProtocolError::Misplaced { kind: Kind::Call, stream: unknown }),
        (frame(Kind::Open, unknown, b""), ProtocolError::Misplaced { kind: Kind::Open, stream: unknown }),
        (frame(Kind::Control, stream, b""), ProtocolError::Misplaced { kind: Kind::Control, stream }),
        (frame(Kind::Credit, stream, b"abc"), ProtocolError::Malformed { kind: Kind::Credit, stream }),
        (frame(Kind::Close, stream, b"\xff"), ProtocolError::Malformed { kind: Kind::Close, stream }),
        (torn, ProtocolError::Torn { kind, stream }),
        (vec![b'x'; 16], ProtocolError::InvalidHeader),
        (
            [frame(Kind::Control, StreamId::CONTROL, b""), Magic::Guest.preamble(NONCE).to_vec()].concat(),
            ProtocolError::GuestRestarted,
        ),
    ] {
        let (mut host, _) = established();
        assert_eq!(opened(&mut host), stream);
        assert_eq!(host.receive(&bytes), Err(breach));
        assert_eq!(host.receive(b"x"), Err(breach), "and it stays over");
        assert_eq!(host.transmit(), b"");
        assert_eq!(host.allocate(), Err(SendError::NoSession));
    }
}

#[test]
fn a_kind_of_a_later_version_is_skipped() {
    let (mut host, mut guest) = established();
    let call = host.allocate().unwrap();
    let mut frames = Vec::new();
    for payload in [&b""[..], &[1; 5000]] {
        let mut header = Seal::new(NONCE).write(Kind::Control, StreamId::CONTROL, payload.len());
        header[4] = 99;
        let check = crc32fast::hash(&[NONCE.bytes().as_slice(), &header[..12]].concat());
        header[12..].copy_from_slice(&check.to_le_bytes());
        frames.extend_from_slice(&header);
        frames.extend_from_slice(payload);
        frames.extend_from_slice(if payload.is_empty() { &[] } else { b"mark" });
    }
    guest.receive(&frames).unwrap();
    host.receive(&frames).unwrap();
    host.send(Kind::Call, call, &Request::default()).unwrap();
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), []);
    assert!(matches!(events(&mut guest).as_slice(), [Event::Message { kind: Kind::Call, .. }]));
}

#[test]
fn an_answer_meant_for_an_earlier_session_finds_no_call() {
    let (mut host, mut guest) = established();
    let stale = host.allocate().unwrap();
    host.send(Kind::Call, stale, &Request::default()).unwrap();
    settle(&mut host, &mut guest);
    let mut host = Mux::host(nonce(9));
    let call = host.allocate().unwrap();
    host.send(Kind::Call, call, &Request::default()).unwrap();
    settle(&mut host, &mut guest);
    assert_eq!(guest.send(Kind::Reply, stale, &Reply::default()), Err(SendError::UnknownStream));
    assert_eq!(guest.send(Kind::Reply, call, &Reply::default()), Ok(()));
}

#[test]
fn a_host_that_was_not_heard_knocks_again() {
    let (mut host, mut guest) = (Mux::host(NONCE), Mux::guest());
    assert_eq!(written(&mut host).len(), OPENING_BYTES, "lost with the port that was closed");
    host.knock();
    host.knock();
    assert_eq!(host.transmit().len(), BURST_BYTES, "once at a time");
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Established { nonce: NONCE }]);
    host.knock();
    assert_eq!(host.transmit(), b"", "no need any more");

    guest.disconnected();
    assert_eq!(events(&mut guest), [Event::Established { nonce: NONCE }, Event::Reset][1..]);
}

#[test]
fn a_guest_whose_port_was_reopened_during_the_burst_is_understood() {
    let (mut host, mut guest) = (Mux::host(NONCE), Mux::guest());
    written(&mut host);
    host.knock();
    let burst = written(&mut host);
    guest.receive(&burst[..1001]).unwrap();
    let first = written(&mut guest);
    guest.disconnected();
    guest.receive(&burst[3003..]).unwrap();
    host.receive(&first).unwrap();
    settle(&mut host, &mut guest);
    host.send(Kind::Control, StreamId::CONTROL, &Hello::default()).unwrap();
    settle(&mut host, &mut guest);
    assert_eq!(events(&mut host), [Event::Established { nonce: NONCE }]);
    assert!(matches!(events(&mut guest).last(), Some(Event::Message { kind: Kind::Control, .. })));
}
