//! What the fuzz targets and the test of mutated inputs call: each takes any bytes and panics when a promise is broken.
//!
//! A header's check would keep random bytes out of everything behind it, so [`sealed`] turns input into a stream of
//! validly sealed frames of any kind, stream and content.

use std::collections::BTreeMap;

use prost::Message;
use pyro_protocol::{
    Event, Kind, Mux, Nonce, ProtocolError, StreamId,
    frame::{HEADER_BYTES, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, Seal},
    message::{Close, Hello, Open, Reply, Request},
    mux::{CONTROL_QUEUE_BYTES, MAX_CALLS, MAX_STREAMS, WINDOW_BYTES},
    sync::{BURST_BYTES, Magic},
};

/// Nonce of the session under attack; ids of its host begin at 1.
pub(crate) const NONCE: Nonce = Nonce::new([0, 0, 0, 0, 5, 6, 7, 8]);
/// Nonces of the next host, which draws one that is not in use.
const NEXT_NONCES: [Nonce; 2] = [Nonce::new([0, 0, 0, 0, 5, 6, 7, 9]), Nonce::new([0, 0, 0, 0, 5, 6, 7, 10])];

/// Frames that the input describes: per frame a kind, a stream, a length and so many bytes of content, or,
/// where kind is 255, so many bytes without any header. A scale with bit 6 set tears the frame's end mark.
pub(crate) fn sealed(mut input: &[u8]) -> Vec<u8> {
    let seal = Seal::new(NONCE);
    let mut stream = Vec::new();
    while let [kind, id, length, scale, rest @ ..] = input {
        let asked = usize::from(*length) << (scale % 9);
        let content = &rest[..rest.len().min(asked)];
        let mut payload = content.to_vec();
        // Large frames need not come from large inputs.
        if scale & 0x80 != 0 {
            payload.resize(asked.min(MAX_PAYLOAD_BYTES), *scale);
        }
        if *kind == 255 {
            stream.extend_from_slice(&payload);
        } else {
            let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
            let id = StreamId::new(u32::from(*id));
            let write = |out: &mut Vec<u8>| out.extend_from_slice(&payload);
            seal.append_frame(&mut stream, kind, id, payload.len(), write);
            if scale & 0x40 != 0 && !payload.is_empty() {
                stream.pop();
            }
        }
        input = &rest[content.len()..];
    }
    stream
}

/// The first byte says whether the rest is raw or [`sealed`], the second into what pieces it is cut.
fn attack(input: &[u8]) -> (Vec<u8>, usize) {
    match input {
        [mode, piece, rest @ ..] => {
            let stream = if mode % 4 == 0 { rest.to_vec() } else { sealed(rest) };
            (stream, usize::from(*piece) * usize::from(*piece) + 1)
        }
        _ => (Vec::new(), 1),
    }
}

/// A host with one call and three streams out hears anything.
pub(crate) fn host_receive(input: &[u8]) {
    let (stream, piece) = attack(input);
    let mut host = Mux::host(NONCE);
    let open = [Kind::Call, Kind::Open, Kind::Open, Kind::Open].map(|kind| {
        let id = host.allocate().expect("first ids");
        let sent = match kind {
            Kind::Call => host.send(kind, id, &Request::default()),
            _ => host.send(kind, id, &Open::default()),
        };
        sent.expect("an empty queue");
        id
    });
    assert_eq!(open[3].number(), 4, "inputs address the first streams");
    let told = input.first().is_some_and(|mode| mode & 0x80 == 0);
    if told {
        host.receive(&Magic::Guest.preamble(NONCE)).expect("an acknowledgement");
    }
    let mut unconsumed = BTreeMap::<StreamId, usize>::new();
    let mut replies = 0;
    let mut broken: Option<ProtocolError> = None;
    for bytes in stream.chunks(piece) {
        let result = host.receive(bytes);
        if let Some(breach) = broken {
            assert_eq!(result, Err(breach), "a broken session stays broken");
        }
        broken = result.err();
        while let Some(event) = host.next_event() {
            assert!(!matches!(event, Event::Reset), "a host has no resets");
            match event {
                Event::Message { kind, stream, body } => {
                    assert!(matches!(kind, Kind::Control | Kind::Reply) && body.len() <= MAX_PAYLOAD_BYTES);
                    replies += usize::from(kind == Kind::Reply);
                    assert!(kind == Kind::Control || stream == open[0]);
                }
                Event::Data { stream, bytes } => {
                    assert!(open[1..].contains(&stream) && !bytes.is_empty());
                    let waiting = unconsumed.entry(stream).or_default();
                    *waiting += bytes.len();
                    assert!(*waiting <= WINDOW_BYTES as usize, "credit bounds what a guest can make us keep");
                    // The middle stream has a consumer, and a careless one.
                    if stream == open[2] {
                        host.grant(stream, u32::MAX);
                        *waiting = 0;
                    }
                }
                Event::Credit { stream } | Event::Closed { stream, .. } => assert!(open.contains(&stream)),
                Event::Established { .. } | Event::Reset => {}
            }
        }
        host.send_data(open[3], &[7; 4096]);
        let written = drain(&mut host);
        assert!(written <= 2 * BURST_BYTES + CONTROL_QUEUE_BYTES, "{written} bytes to say");
    }
    assert!(replies <= 1, "one reply for a call");
}

/// A guest hears anything; then a new host comes, and must be understood.
pub(crate) fn guest_receive(input: &[u8]) {
    let (stream, piece) = attack(input);
    let mut guest = Mux::guest();
    if input.first().is_some_and(|mode| mode & 0x80 == 0) {
        assert_eq!(guest.receive(&Magic::Host.preamble(NONCE)), Ok(()));
    }
    let (mut calls, mut streams) = (0, 0);
    let mut current = None;
    for bytes in stream.chunks(piece) {
        assert_eq!(guest.receive(bytes), Ok(()), "a guest never errs");
        while let Some(event) = guest.next_event() {
            match event {
                Event::Established { nonce } => {
                    (calls, streams) = (0, 0);
                    current = Some(nonce);
                }
                Event::Reset => {}
                Event::Message { kind: Kind::Call, .. } => calls += 1,
                Event::Message { kind: Kind::Open, .. } => streams += 1,
                Event::Message { kind, .. } => assert_eq!(kind, Kind::Control),
                Event::Data { stream, bytes } => {
                    assert!(!bytes.is_empty());
                    guest.send_data(stream, &bytes);
                    guest.grant(stream, u32::try_from(bytes.len()).expect("a frame"));
                }
                Event::Credit { .. } => {}
                Event::Closed { stream, close } => {
                    streams -= i32::from(guest.send(Kind::Close, stream, &close).is_ok());
                }
            }
        }
        assert!(calls <= MAX_CALLS && streams <= i32::try_from(MAX_STREAMS).expect("small"));
        drain(&mut guest);
    }

    let [usual, other] = NEXT_NONCES;
    let nonce = if current == Some(usual) { other } else { usual };
    let mut host = Mux::host(nonce);
    let call = host.allocate().expect("first id");
    host.send(Kind::Call, call, &Request::default()).expect("an empty queue");
    exchange(&mut host, &mut guest);
    host.knock();
    exchange(&mut host, &mut guest);
    let established = Event::Established { nonce };
    assert_eq!(host.next_event(), Some(established), "a burst is always understood");
    let events: Vec<_> = std::iter::from_fn(|| guest.next_event()).collect();
    let call = Event::Message { kind: Kind::Call, stream: call, body: Vec::new() };
    assert_eq!(events.last(), Some(&call), "and so is what follows it");
}

/// Any header that is valid is the one we would have written.
pub(crate) fn header(input: &[u8]) {
    let Some((bytes, _)) = input.split_first_chunk::<HEADER_BYTES>() else { return };
    let seal = Seal::new(NONCE);
    if let Some(read) = seal.read(bytes) {
        assert!(read.payload_bytes <= MAX_PAYLOAD_BYTES);
        if let Some(kind) = read.kind {
            assert_eq!(&seal.write(kind, read.stream, read.payload_bytes), bytes);
        }
    }
}

/// Whatever decodes can be encoded and decoded again to the same.
pub(crate) fn messages(input: &[u8]) {
    fn round_trip<M: Message + Default + PartialEq + std::fmt::Debug>(input: &[u8]) {
        if let Ok(message) = M::decode(input) {
            let again = M::decode(message.encode_to_vec().as_slice()).expect("what we encoded");
            assert!(again == message, "{again:?} is not {message:?}");
        }
    }
    round_trip::<Hello>(input);
    round_trip::<Request>(input);
    round_trip::<Reply>(input);
    round_trip::<Open>(input);
    round_trip::<Close>(input);
}

/// Small well-formed inputs from which to mutate, for each entry point.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let hello = pyro_protocol::version::hello(&["grow-disk"], "1.0.0", b"boot").encode_to_vec();
    let describe = |frames: &[(u8, u8, &[u8])]| {
        frames.iter().fold(vec![1, 200], |mut input, (kind, stream, payload)| {
            let length = u8::try_from(payload.len()).expect("a small seed");
            input.extend_from_slice(&[kind - 1, *stream, length, 0]);
            input.extend_from_slice(payload);
            input
        })
    };
    let close = Close { skipped_bytes: 3, ..Close::default() }.encode_to_vec();
    let from_guest =
        describe(&[(1, 0, &hello), (3, 1, b""), (5, 2, b"out"), (6, 4, &[0, 0, 1, 0]), (7, 3, &close)]);
    let from_host = describe(&[
        (1, 0, &hello),
        (2, 1, b""),
        (4, 2, b""),
        (5, 2, b"in"),
        (6, 2, &[0, 0, 1, 0]),
        (7, 2, b""),
    ]);
    let flood =
        vec![1, 255, 4, 2, 255, 0x88, 4, 2, 255, 0x88, 4, 2, 255, 0x88, 4, 3, 255, 0x88, 4, 2, 255, 0x88];
    let torn = [[1, 200, 1, 1, 5, 0x40].as_slice(), b"start", &[1, 2, 0, 0]].concat();
    let burst =
        [[128, 3].as_slice(), &Magic::Host.preamble(NONCE)[3..], &Magic::Host.preamble(NONCE)].concat();
    let header = Seal::new(NONCE).write(Kind::Data, StreamId::new(2), MAX_FRAME_BYTES / 2);
    vec![
        ("host_receive", from_guest.clone()),
        ("host_receive", flood.clone()),
        ("host_receive", [[128, 9].as_slice(), &Magic::Guest.preamble(NONCE), b"more"].concat()),
        ("guest_receive", from_host),
        ("guest_receive", flood),
        ("guest_receive", burst),
        ("guest_receive", torn),
        ("guest_receive", from_guest),
        ("header", header.to_vec()),
        ("messages", hello),
        ("messages", close),
    ]
}

fn drain(mux: &mut Mux) -> usize {
    let mut written = 0;
    loop {
        let bytes = mux.transmit().len();
        if bytes == 0 {
            return written;
        }
        written += bytes;
        mux.transmitted(bytes);
    }
}

fn exchange(host: &mut Mux, guest: &mut Mux) {
    loop {
        let to_guest = host.transmit().to_vec();
        host.transmitted(to_guest.len());
        assert_eq!(guest.receive(&to_guest), Ok(()));
        let to_host = guest.transmit().to_vec();
        guest.transmitted(to_host.len());
        assert_eq!(host.receive(&to_host), Ok(()));
        if to_guest.is_empty() && to_host.is_empty() {
            return;
        }
    }
}
