//! What a process prints, taken as it comes and looked at as lines or as a whole.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Bytes kept of one stream; more is counted and dropped.
const KEPT_BYTES: usize = 64 << 20;

/// A stream that is being read by a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Capture(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stream: Mutex<Stream>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    total: u64,
    line_from: usize,
    ended: bool,
}

impl Capture {
    /// Starts reading; `on_read` is called after every piece with the bytes so far.
    pub(crate) fn of(mut source: impl Read + Send + 'static, on_read: impl Fn(u64) + Send + 'static) -> Self {
        let capture = Self(Arc::default());
        let shared = Arc::clone(&capture.0);
        thread::spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            loop {
                let read = source.read(&mut piece).unwrap_or(0);
                let mut stream = shared.lock();
                if read == 0 {
                    stream.ended = true;
                    shared.grown.notify_all();
                    return;
                }
                let room = KEPT_BYTES.saturating_sub(stream.bytes.len());
                stream.bytes.extend_from_slice(&piece[..read.min(room)]);
                stream.total += read as u64;
                let total = stream.total;
                drop(stream);
                shared.grown.notify_all();
                on_read(total);
            }
        });
        capture
    }

    /// The next line, without its end. Nothing when the stream ends or `patience` is over first.
    pub(crate) fn line(&self, patience: Duration) -> Option<Vec<u8>> {
        let next = |stream: &Stream| {
            let rest = &stream.bytes[stream.line_from..];
            rest.iter().position(|byte| *byte == b'\n').map(|length| rest[..length].to_vec())
        };
        let waits = |stream: &mut Stream| next(stream).is_none() && !stream.ended;
        let (mut stream, _timeout) = self
            .0
            .grown
            .wait_timeout_while(self.0.lock(), patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let line = next(&stream)?;
        stream.line_from += line.len() + 1;
        Some(line)
    }

    /// Waits for the end of the stream; false if `patience` is over first.
    pub(crate) fn ends_within(&self, patience: Duration) -> bool {
        let (stream, _timeout) = self
            .0
            .grown
            .wait_timeout_while(self.0.lock(), patience, |stream| !stream.ended)
            .unwrap_or_else(PoisonError::into_inner);
        stream.ended
    }

    /// Everything so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }

    /// How much it was so far, dropped bytes included.
    pub(crate) fn total(&self) -> u64 {
        self.0.lock().total
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_one_after_the_other_and_then_the_end() {
        let capture = Capture::of(&b"one\n\ntwo"[..], |_| {});
        let line = || capture.line(Duration::from_secs(10));
        assert_eq!(line(), Some(b"one".to_vec()));
        assert_eq!(line(), Some(Vec::new()));
        assert_eq!(line(), None, "a line without its end is none");
        assert!(capture.ends_within(Duration::from_secs(10)));
        assert_eq!((capture.bytes(), capture.total()), (b"one\n\ntwo".to_vec(), 8));
    }
}
