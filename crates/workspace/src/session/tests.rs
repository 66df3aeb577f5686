//! Sessions against a scripted guest: the real guest end of the protocol over an in-memory stream, told what to say.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use prost::Message;
use pyro_protocol::{
    Event, Kind, Mux, Nonce, ProtocolError, StreamId,
    frame::{HEADER_BYTES, MAX_FRAME_BYTES, Seal},
    message::{
        Close, Empty, ExitStatus, Failure, FailureCode, Hello, Open, Reply, Request, Start, Started,
        StreamKind, reply, request,
    },
    mux::WINDOW_BYTES,
    sync::{BURST_BYTES, Magic, OPENING_BYTES, PREAMBLE_BYTES},
    version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{GuestSession, Loss, OutputKind, SessionError};

/// Smaller than a frame, so that frames cross in pieces.
const PIPE_BYTES: usize = 10_000;

struct ScriptedGuest {
    mux: Mux,
    stream: DuplexStream,
}

impl ScriptedGuest {
    fn new(stream: DuplexStream) -> Self {
        Self { mux: Mux::guest(), stream }
    }

    /// Writes all there is to say while listening; the next event, `None` when the host is gone.
    async fn next(&mut self) -> Option<Event> {
        let mut buffer = vec![0; MAX_FRAME_BYTES];
        loop {
            let all_said = self.mux.transmit().is_empty();
            if let Some(event) = self.mux.next_event() {
                return Some(event);
            }
            let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
            tokio::select! {
                read = reader.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => self.mux.receive(&buffer[..count]).unwrap(),
                },
                written = writer.write(self.mux.transmit()), if !all_said => match written {
                    Ok(count) => self.mux.transmitted(count),
                    Err(_) => return None,
                },
            }
        }
    }

    /// Says everything, though nobody may listen to the rest.
    async fn say(&mut self) {
        while !self.mux.transmit().is_empty() {
            let count = self.stream.write(self.mux.transmit()).await.unwrap();
            self.mux.transmitted(count);
        }
    }

    async fn greet(&mut self, hello: Hello) {
        let established = self.next().await;
        assert!(matches!(established, Some(Event::Established { .. })), "{established:?}");
        let heard = self.next().await;
        assert!(matches!(heard, Some(Event::Message { kind: Kind::Control, .. })), "{heard:?}");
        self.mux.send(Kind::Control, StreamId::CONTROL, &hello).unwrap();
        self.say().await;
    }

    async fn request(&mut self) -> (StreamId, request::Body) {
        match self.next().await {
            Some(Event::Message { kind: Kind::Call, stream, body }) => {
                (stream, Request::decode(body.as_slice()).unwrap().body.unwrap())
            }
            other => panic!("not a call: {other:?}"),
        }
    }

    async fn opened(&mut self) -> (StreamId, Open) {
        match self.next().await {
            Some(Event::Message { kind: Kind::Open, stream, body }) => {
                (stream, Open::decode(body.as_slice()).unwrap())
            }
            other => panic!("not an open: {other:?}"),
        }
    }

    fn answer(&mut self, call: StreamId, body: reply::Body) {
        self.mux.send(Kind::Reply, call, &Reply { body: Some(body) }).unwrap();
    }

    fn close(&mut self, stream: StreamId, close: &Close) {
        self.mux.send(Kind::Close, stream, close).unwrap();
    }

    /// Listens to the end, so that what was said is delivered.
    async fn linger(mut self) {
        while self.next().await.is_some() {}
    }
}

fn hello() -> Hello {
    version::hello(&[version::feature::GROW_DISK], "9.9.9", b"boot")
}

fn failure(code: FailureCode, message: &str) -> Failure {
    Failure { code: code.into(), message: message.to_owned(), errno: 0 }
}

async fn greeted() -> (GuestSession, ScriptedGuest) {
    let (host, guest) = tokio::io::duplex(PIPE_BYTES);
    let mut guest = ScriptedGuest::new(guest);
    let (session, ()) = tokio::join!(GuestSession::open(host, "1.0.0"), guest.greet(hello()));
    (session.unwrap(), guest)
}

fn lost_by(error: &SessionError) -> &Loss {
    match error {
        SessionError::Lost { source } => source,
        other => panic!("not lost: {other:?}"),
    }
}

/// Whether the future has to wait.
async fn waits<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn hellos_are_exchanged_over_whatever_an_earlier_session_left() {
    let (host, guest) = tokio::io::duplex(PIPE_BYTES);
    let mut guest = ScriptedGuest::new(guest);
    guest.stream.write_all(&[b'p'; 3000]).await.unwrap();
    guest.stream.write_all(&Magic::Guest.preamble(Nonce::new([1; 8]))).await.unwrap();
    let (session, ()) = tokio::join!(GuestSession::open(host, "1.0.0"), guest.greet(hello()));
    let session = session.unwrap();
    assert_eq!(session.peer().release, "9.9.9");
    assert_eq!(session.peer().boot_id, b"boot");
    assert_eq!(session.peer().version.number(), 1);
    assert!(session.peer().supports(version::feature::GROW_DISK));
    assert!(!session.peer().supports("no such thing"));
}

#[tokio::test]
async fn a_host_whose_opening_was_lost_knocks() {
    let (host, guest) = tokio::io::duplex(2 * BURST_BYTES);
    let mut guest = ScriptedGuest::new(guest);
    let (session, ()) = tokio::join!(GuestSession::open(host, "1.0.0"), async {
        guest.stream.read_exact(&mut [0; OPENING_BYTES]).await.unwrap();
        guest.greet(hello()).await;
    });
    assert!(session.is_ok());
}

#[tokio::test]
async fn a_guest_newer_than_this_host_is_refused() {
    let (host, guest) = tokio::io::duplex(PIPE_BYTES);
    let mut guest = ScriptedGuest::new(guest);
    let newer = Hello { oldest_version: version::NEWEST + 1, newest_version: version::NEWEST + 2, ..hello() };
    let (session, ()) = tokio::join!(GuestSession::open(host, "1.0.0"), guest.greet(newer));
    assert!(matches!(session, Err(SessionError::Version { .. })), "{session:?}");
    assert_eq!(guest.next().await, None, "and the stream is dropped");
}

#[tokio::test]
async fn requests_travel_together_and_in_order_before_anybody_waits() {
    let (session, mut guest) = greeted().await;
    let started = session.start(Start { id: "p".to_owned(), ..Start::default() });
    let mut stdout = session.output("p", OutputKind::Stdout, 7);
    let mut stderr = session.output("p", OutputKind::Stderr, 0);
    let exited = session.wait("p");

    let (start, body) = guest.request().await;
    assert!(matches!(body, request::Body::Start(_)));
    let (out, open) = guest.opened().await;
    assert_eq!((open.kind(), open.offset, open.process.as_str()), (StreamKind::Stdout, 7, "p"));
    let (err, open) = guest.opened().await;
    assert_eq!(open.kind(), StreamKind::Stderr);
    let (wait, body) = guest.request().await;
    assert!(matches!(body, request::Body::Wait(_)));

    guest.answer(start, reply::Body::Started(Started { pid: 12 }));
    guest.mux.send_data(out, b"\xff\x00out");
    guest.close(out, &Close { skipped_bytes: 3, failure: None });
    guest.close(
        err,
        &Close { failure: Some(failure(FailureCode::Exhausted, "read the spool")), skipped_bytes: 0 },
    );
    guest.answer(wait, reply::Body::Exited(ExitStatus { code: Some(4), ..ExitStatus::default() }));
    let guest = tokio::spawn(guest.linger());

    assert_eq!(exited.await.unwrap().code, Some(4));
    assert_eq!(started.await.unwrap().pid, 12);
    assert_eq!(stdout.next().await.unwrap().unwrap().as_ref(), b"\xff\x00out");
    assert!(stdout.next().await.is_none() && stdout.next().await.is_none());
    assert_eq!(stdout.skipped_bytes(), 3);
    let refused = stderr.next().await;
    assert!(
        matches!(refused, Some(Err(SessionError::Refused { code: FailureCode::Exhausted, .. }))),
        "{refused:?}"
    );
    assert!(stderr.next().await.is_none());
    session.close().await;
    guest.await.unwrap();
}

#[tokio::test]
async fn a_refusal_and_a_wrong_answer_are_told_apart() {
    let (session, mut guest) = greeted().await;
    let (refused, wrong) = (session.remove("gone"), session.list());
    let (remove, _) = guest.request().await;
    guest.answer(remove, reply::Body::Failure(failure(FailureCode::UnknownProcess, "find process gone")));
    let (list, _) = guest.request().await;
    guest.answer(list, reply::Body::Done(Empty {}));
    guest.say().await;
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.to_string(), "guest failed to find process gone");
    assert!(matches!(refused, SessionError::Refused { code: FailureCode::UnknownProcess, .. }));
    assert!(matches!(wrong.await, Err(SessionError::Unexpected { operation: "list" })));
}

#[tokio::test]
async fn a_slow_consumer_stalls_its_own_stream_alone() {
    let (session, mut guest) = greeted().await;
    let mut slow = session.output("p", OutputKind::Stdout, 0);
    let mut quick = session.output("p", OutputKind::Stderr, 0);
    let (out, _) = guest.opened().await;
    let (err, _) = guest.opened().await;

    let mut sent = 0_usize;
    loop {
        let taken = guest.mux.send_data(out, &[1; 50_000]);
        sent += taken;
        if taken == 0 {
            break;
        }
        guest.say().await;
    }
    assert_eq!(sent, WINDOW_BYTES as usize, "a consumer that takes nothing gets its window and no more");

    guest.mux.send_data(err, b"still here");
    let pong = session.ping();
    let (ping, _) = guest.request().await;
    guest.answer(ping, reply::Body::Done(Empty {}));
    guest.say().await;
    pong.await.unwrap();
    assert_eq!(quick.next().await.unwrap().unwrap().as_ref(), b"still here");

    let mut received = 0;
    while received < sent {
        received += slow.next().await.unwrap().unwrap().len();
    }
    assert_eq!(guest.next().await, Some(Event::Credit { stream: out }));
    assert!(waits(slow.next()).await);
}

#[tokio::test]
async fn single_bytes_are_kept_together() {
    let (session, mut guest) = greeted().await;
    let mut output = session.output("p", OutputKind::Stdout, 0);
    let (out, _) = guest.opened().await;
    for _ in 0..1000 {
        guest.mux.send_data(out, b"x");
        guest.say().await;
    }
    let pong = session.ping();
    let (ping, _) = guest.request().await;
    guest.answer(ping, reply::Body::Done(Empty {}));
    guest.say().await;
    pong.await.unwrap();
    assert_eq!(output.next().await.unwrap().unwrap().len(), 1000);
}

#[tokio::test]
async fn input_waits_for_credit_and_ends() {
    let (session, mut guest) = greeted().await;
    let mut input = session.input("cat");
    let (stream, open) = guest.opened().await;
    assert_eq!((open.kind(), open.process.as_str()), (StreamKind::Stdin, "cat"));
    let sent: Vec<u8> = (0..1_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let expected = sent.clone();
    let process = async {
        let mut heard = Vec::new();
        loop {
            match guest.next().await.unwrap() {
                Event::Data { bytes, .. } => {
                    guest.mux.grant(stream, u32::try_from(bytes.len()).unwrap());
                    heard.extend(bytes);
                }
                Event::Closed { .. } => return heard,
                other => panic!("{other:?}"),
            }
        }
    };
    let ((), heard) = tokio::join!(
        async {
            input.write_all(&sent).await.unwrap();
            input.finish().await.unwrap();
        },
        process
    );
    assert!(heard == expected, "{} of {} bytes, or others", heard.len(), expected.len());
}

#[tokio::test]
async fn input_that_nobody_reads_waits_and_ends_when_the_process_does() {
    let (session, mut guest) = greeted().await;
    let mut input = session.input("sleep");
    let (stream, _) = guest.opened().await;
    let mut sent = 0;
    while !waits(input.write_all(&[0; 1000])).await {
        sent += 1000;
    }
    assert!(sent <= WINDOW_BYTES, "{sent} bytes queued");
    guest.close(stream, &Close::default());
    let linger = tokio::spawn(guest.linger());
    let ended = input.write_all(&vec![0; 1_000_000]).await;
    assert!(matches!(ended, Err(SessionError::InputEnded)), "{ended:?}");
    session.close().await;
    linger.await.unwrap();
}

#[tokio::test]
async fn dropped_streams_are_closed_at_the_guest() {
    let (session, mut guest) = greeted().await;
    let (output, input) = (session.output("p", OutputKind::Stdout, 0), session.input("p"));
    let (out, _) = guest.opened().await;
    let (stdin, _) = guest.opened().await;
    guest.mux.send_data(out, b"not wanted");
    drop((output, input));
    assert_eq!(guest.next().await, Some(Event::Closed { stream: out, close: Close::default() }));
    assert_eq!(guest.next().await, Some(Event::Closed { stream: stdin, close: Close::default() }));
    guest.mux.send_data(out, b"on its way");
    guest.close(out, &Close::default());
    let pong = session.ping();
    let (ping, _) = guest.request().await;
    guest.answer(ping, reply::Body::Done(Empty {}));
    guest.say().await;
    pong.await.unwrap();
}

#[tokio::test]
async fn everybody_who_waits_learns_of_the_loss_after_what_had_arrived() {
    let (session, mut guest) = greeted().await;
    let (list, wait) = (session.list(), session.wait("p"));
    let mut output = session.output("p", OutputKind::Stdout, 0);
    let mut input = session.input("p");
    for _ in 0..2 {
        guest.request().await;
    }
    let (out, _) = guest.opened().await;
    guest.mux.send_data(out, b"last words");
    guest.say().await;
    drop(guest);
    for lost in [list.await.unwrap_err(), wait.await.unwrap_err()] {
        assert!(matches!(lost_by(&lost), Loss::Ended), "{lost:?}");
    }
    assert_eq!(output.next().await.unwrap().unwrap().as_ref(), b"last words");
    assert!(matches!(lost_by(&output.next().await.unwrap().unwrap_err()), Loss::Ended));
    assert!(output.next().await.is_none());
    assert!(matches!(lost_by(&input.write_all(b"x").await.unwrap_err()), Loss::Ended));
    assert!(matches!(lost_by(&session.ping().await.unwrap_err()), Loss::Ended));
    let late = session.output("p", OutputKind::Stdout, 0).next().await;
    assert!(matches!(lost_by(&late.unwrap().unwrap_err()), Loss::Ended));
    session.close().await;
}

#[tokio::test]
async fn a_guest_that_goes_before_its_hello_is_lost() {
    let (host, mut guest) = tokio::io::duplex(PIPE_BYTES);
    guest.write_all(b"Kernel panic - not syncing").await.unwrap();
    drop(guest);
    let lost = GuestSession::open(host, "1.0.0").await.unwrap_err();
    assert!(matches!(lost_by(&lost), Loss::Ended | Loss::Io { .. }), "{lost:?}");
}

#[tokio::test]
async fn a_guest_that_breaks_the_protocol_is_left() {
    let (session, mut guest) = greeted().await;
    let ping = session.ping();
    guest.request().await;
    guest.stream.write_all(&[b'!'; HEADER_BYTES]).await.unwrap();
    let lost = ping.await.unwrap_err();
    let Loss::Protocol { source } = lost_by(&lost) else { panic!("{lost:?}") };
    assert_eq!(*source, ProtocolError::InvalidHeader);
    assert_eq!(guest.next().await, None, "the stream is dropped");
}

#[tokio::test]
async fn malformed_answers_and_second_hellos_end_the_session() {
    for second_hello in [true, false] {
        let (host, mut guest) = tokio::io::duplex(PIPE_BYTES);
        let open = tokio::spawn(GuestSession::open(host, "1.0.0"));
        // By hand: the guest's own end refuses to send such things.
        let mut opening = vec![0; OPENING_BYTES];
        guest.read_exact(&mut opening).await.unwrap();
        let nonce = Magic::Host.read(opening.first_chunk::<PREAMBLE_BYTES>().unwrap()).unwrap();
        let seal = Seal::new(nonce);
        guest.write_all(&Magic::Guest.preamble(nonce)).await.unwrap();
        let greeting = hello().encode_to_vec();
        let mut control = Vec::new();
        let write = |out: &mut Vec<u8>| out.extend_from_slice(&greeting);
        seal.append_frame(&mut control, Kind::Control, StreamId::CONTROL, greeting.len(), write);
        guest.write_all(&control).await.unwrap();
        let session = open.await.unwrap().unwrap();
        let ping = session.ping();
        if second_hello {
            guest.write_all(&control).await.unwrap();
        } else {
            let call = StreamId::new(u32::from_le_bytes(*nonce.bytes().first_chunk().unwrap()) >> 2 | 1);
            guest.write_all(&seal.write(Kind::Reply, call, 0)).await.unwrap();
        }
        let expected = if second_hello { "hello" } else { "reply" };
        let lost = ping.await.unwrap_err();
        assert!(matches!(lost_by(&lost), Loss::Malformed { object } if *object == expected), "{lost:?}");
    }
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_then_drops_the_stream() {
    let (session, mut guest) = greeted().await;
    let other = session.clone();
    let waiting = session.list();
    let mut input = session.input("p");
    let queued = vec![5; 100_000];
    input.write_all(&queued).await.unwrap();
    let process = async {
        let mut heard = 0;
        while let Some(event) = guest.next().await {
            if let Event::Data { bytes, .. } = event {
                heard += bytes.len();
            }
        }
        heard
    };
    let ((), heard) = tokio::join!(session.close(), process);
    assert_eq!(heard, queued.len());
    assert!(matches!(waiting.await, Err(SessionError::Closed)));
    assert!(matches!(other.ping().await, Err(SessionError::Closed)));
    assert!(matches!(input.write_all(b"x").await, Err(SessionError::Closed)));
    other.close().await;
}

#[tokio::test]
async fn the_last_handle_takes_the_stream_with_it() {
    let (session, mut guest) = greeted().await;
    let (clone, ping) = (session.clone(), session.ping());
    drop((session, clone));
    let (call, _) = guest.request().await;
    guest.answer(call, reply::Body::Done(Empty {}));
    guest.say().await;
    ping.await.unwrap();
    assert_eq!(guest.next().await, None);
}

#[tokio::test]
async fn a_request_that_does_not_fit_in_a_frame_is_not_sent() {
    let (session, _guest) = greeted().await;
    let long = Start { argv: vec![vec![b'x'; MAX_FRAME_BYTES]], ..Start::default() };
    assert!(matches!(session.start(long).await, Err(SessionError::Unsent { operation: "start", .. })));
}
