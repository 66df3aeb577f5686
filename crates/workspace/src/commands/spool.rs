//! What a command printed, on the host: bounded, addressed by the offsets of all bytes ever written, readable while
//! it grows.
//!
//! ```text
//!  commands/000017.stdout             the head: the first bytes, kept for ever
//!  commands/000017.stdout.tail/<n>    the newest bytes in segments, each named by the offset of its first byte;
//!                                     the oldest segment goes when there is no room for another
//! ```
//!
//! The files alone say what is kept: a process that dies at any moment leaves a spool that the next one continues at
//! its [`Spool::next`]. Offsets between two files are bytes that were dropped: here, by the guest while nobody
//! listened, or because the host's disk was full.
//!
//! Whoever follows a spool sees all of it: a segment that a follower has not read is not removed, and so a slow
//! follower in the end slows the command, as a pipe would. Without followers a command never waits for the host.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tracing::warn;

use super::{CommandRecord, OutputRecord};
use crate::{
    fault::{self, FaultPoint},
    session::OutputKind,
};

/// How much is kept of each output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpoolLimits {
    /// From its beginning, bytes.
    pub head_bytes: u64,
    /// From its end, bytes, rounded down to whole segments but for the one being written.
    pub tail_bytes: u64,
}

/// The tail is this many segments.
const TAIL_SEGMENTS: u64 = 8;

/// Most bytes of one read.
const PIECE_BYTES: u64 = 256 << 10;

impl SpoolLimits {
    fn segment_bytes(&self) -> u64 {
        (self.tail_bytes / TAIL_SEGMENTS).max(1)
    }
}

/// Where the files of one output lie.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    head: PathBuf,
    tail: PathBuf,
}

impl Place {
    /// In the directory of a workspace.
    pub(crate) fn new(workspace: &Path, sequence: u64, kind: OutputKind) -> Self {
        let directory = directory(workspace);
        let name = format!("{sequence:06}.{}", extension(kind));
        Self { tail: directory.join(format!("{name}.tail")), head: directory.join(name) }
    }

    fn file(&self, start: u64) -> PathBuf {
        if start == 0 { self.head.clone() } else { self.tail.join(start.to_string()) }
    }

    /// What there is, by offset. Files that overlap the one before them are none of ours.
    fn segments(&self) -> io::Result<VecDeque<Segment>> {
        let mut found: Vec<Segment> = Vec::new();
        match fs::metadata(&self.head) {
            Ok(head) => found.push(Segment { start: 0, bytes: head.len() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match fs::read_dir(&self.tail) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry?;
                    let start = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
                    let Some(start) = start.filter(|start| *start > 0) else { continue };
                    match entry.metadata() {
                        Ok(file) => found.push(Segment { start, bytes: file.len() }),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        found.sort_unstable_by_key(|segment| segment.start);
        let mut segments: VecDeque<Segment> = VecDeque::new();
        for segment in found {
            if segments.back().is_none_or(|last| last.end() <= segment.start) {
                segments.push_back(segment);
            }
        }
        Ok(segments)
    }

    /// Removes all that is kept.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let absent = |error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
        };
        fs::remove_dir_all(&self.tail).or_else(absent)?;
        fs::remove_file(&self.head).or_else(absent)
    }
}

fn directory(workspace: &Path) -> PathBuf {
    workspace.join("commands")
}

fn extension(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::Stdout => "stdout",
        OutputKind::Stderr => "stderr",
    }
}

/// One file: bytes of the output that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    start: u64,
    bytes: u64,
}

impl Segment {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

/// One output of one command, shared by the one who writes it and all who read it.
#[derive(Debug)]
pub(crate) struct Spool {
    place: Place,
    limits: SpoolLimits,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    /// A follower moved on or left, or the spool was released.
    moved: Notify,
}

#[derive(Debug)]
struct State {
    segments: VecDeque<Segment>,
    /// Offset behind what each follower has taken.
    followers: BTreeMap<u64, u64>,
    last_follower: u64,
    /// Nobody is waited for any more.
    released: bool,
}

/// How far a spool is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Progress {
    /// Offset of the next byte to come.
    next: u64,
    ended: bool,
}

/// What there is at an offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// Bytes.
    Kept(Bytes),
    /// Nothing up to there: it was dropped.
    Dropped { until: u64 },
}

impl Spool {
    /// A spool that goes on behind what is kept.
    pub(crate) fn open(place: Place, limits: SpoolLimits) -> io::Result<Self> {
        let segments = place.segments()?;
        let next = segments.back().map_or(0, Segment::end);
        Ok(Self::new(place, limits, segments, Progress { next, ended: false }))
    }

    /// A spool of `total_bytes`, to which nothing comes any more.
    pub(crate) fn open_ended(place: Place, limits: SpoolLimits, total_bytes: u64) -> io::Result<Self> {
        let segments = place.segments()?;
        let next = segments.back().map_or(0, Segment::end).max(total_bytes);
        Ok(Self::new(place, limits, segments, Progress { next, ended: true }))
    }

    fn new(place: Place, limits: SpoolLimits, segments: VecDeque<Segment>, progress: Progress) -> Self {
        let state = State { segments, followers: BTreeMap::new(), last_follower: 0, released: false };
        Self {
            place,
            limits,
            state: Mutex::new(state),
            progress: watch::Sender::new(progress),
            moved: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No invariant spans a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it begins on disk, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.place.head
    }

    /// Offset of the next byte to come: bytes written so far, as far as is known here.
    pub(crate) fn next(&self) -> u64 {
        self.progress.borrow().next
    }

    /// What there is now, for a record.
    pub(crate) fn record(&self) -> OutputRecord {
        let kept_bytes = self.lock().segments.iter().map(|segment| segment.bytes).sum();
        OutputRecord { total_bytes: self.next(), kept_bytes, removed: false }
    }

    /// Nothing comes any more; `total_bytes` were written, as far as is known elsewhere.
    pub(crate) fn end(&self, total_bytes: u64) {
        self.progress.send_modify(|progress| {
            progress.next = progress.next.max(total_bytes);
            progress.ended = true;
        });
    }

    /// From now on no follower is waited for.
    pub(crate) fn release(&self) {
        self.lock().released = true;
        self.moved.notify_waiters();
    }

    /// The first offset at or behind `offset` that is kept; none if there is none so far.
    fn kept_from(&self, offset: u64) -> Option<(Segment, u64)> {
        let state = self.lock();
        let segment = state.segments.iter().find(|segment| segment.end() > offset)?;
        Some((*segment, offset.max(segment.start)))
    }

    /// What there is at `offset`, at most `most_bytes` of it, which is less than [`Spool::next`]. Blocks.
    pub(crate) fn read(&self, offset: u64, most_bytes: u64) -> io::Result<Piece> {
        let next = self.next();
        let Some((segment, from)) = self.kept_from(offset) else { return Ok(Piece::Dropped { until: next }) };
        if from > offset {
            return Ok(Piece::Dropped { until: from.min(next) });
        }
        let count = most_bytes.min(PIECE_BYTES).min(segment.end() - from);
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        let read = File::open(self.place.file(segment.start))
            .and_then(|file| file.read_exact_at(&mut bytes, from - segment.start));
        match read {
            Ok(()) => Ok(Piece::Kept(bytes.into())),
            // Removed in this moment, to make room.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                self.forget(segment);
                Ok(Piece::Dropped { until: segment.end() })
            }
            Err(error) => Err(error),
        }
    }

    fn forget(&self, segment: Segment) {
        self.lock().segments.retain(|other| other.start != segment.start);
    }
}

/// Writes one spool; the only one who does.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    spool: Arc<Spool>,
    /// The last segment, open.
    file: Option<File>,
    failing: bool,
}

impl SpoolWriter {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, file: None, failing: false }
    }

    /// Appends bytes, and returns when those who follow can read them. Bytes that cannot be kept are dropped; that is
    /// logged, and can be seen in the spool.
    pub(crate) async fn append(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let fits = self.make_room().await;
            let part = bytes.split_to(usize::try_from(fits).unwrap_or(usize::MAX).min(bytes.len()));
            self.write(part).await;
        }
    }

    /// The bytes up to `offset` are lost.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if offset > self.spool.next() {
            self.file = None;
            self.spool.progress.send_modify(|progress| progress.next = offset);
        }
    }

    /// Bytes that fit into the segment being written, at least one; begins another one if it is full.
    async fn make_room(&mut self) -> u64 {
        let next = self.spool.next();
        let limits = self.spool.limits;
        loop {
            let moved = self.spool.moved.notified();
            tokio::pin!(moved);
            // Before looking, so that nothing happens unheard in between.
            moved.as_mut().enable();
            let surplus = {
                let mut state = self.spool.lock();
                if let Some(last) = state.segments.back().filter(|last| last.end() == next) {
                    let capacity = if last.start == 0 { limits.head_bytes } else { limits.segment_bytes() };
                    if last.bytes < capacity {
                        return capacity - last.bytes;
                    }
                }
                let tail = state.segments.iter().filter(|segment| segment.start >= limits.head_bytes.max(1));
                let tail_bytes: u64 = tail.clone().map(|segment| segment.bytes).sum();
                let oldest = tail.clone().next().copied();
                match oldest.filter(|_| tail_bytes + limits.segment_bytes() > limits.tail_bytes) {
                    None => {
                        state.segments.push_back(Segment { start: next, bytes: 0 });
                        self.file = None;
                        continue;
                    }
                    Some(oldest) => {
                        let needed = state.followers.values().any(|taken| *taken < oldest.end());
                        if needed && !state.released { None } else { Some(oldest) }
                    }
                }
            };
            match surplus {
                None => moved.await,
                Some(oldest) => {
                    self.spool.forget(oldest);
                    let path = self.spool.place.file(oldest.start);
                    let removed = tokio::task::spawn_blocking(move || fs::remove_file(path)).await;
                    if let Ok(Err(error)) = removed {
                        warn!(%error, "cannot remove a part of an output");
                    }
                }
            }
        }
    }

    async fn write(&mut self, bytes: Bytes) {
        let (start, before) =
            self.spool.lock().segments.back().map_or((0, 0), |last| (last.start, last.bytes));
        let count = bytes.len() as u64;
        let (file, path) = (self.file.take(), self.spool.place.file(start));
        let written = tokio::task::spawn_blocking(move || write(file, &path, before, &bytes)).await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(file) => {
                self.file = Some(file);
                self.failing = false;
                if let Some(last) = self.spool.lock().segments.back_mut() {
                    last.bytes += count;
                }
            }
            Err(error) => {
                // Once for each time that it begins to fail.
                if !std::mem::replace(&mut self.failing, true) {
                    warn!(output = %self.spool.place.head.display(), %error, "cannot keep an output; it is dropped");
                }
                if before == 0 {
                    self.spool.lock().segments.pop_back();
                }
            }
        }
        self.spool.progress.send_modify(|progress| progress.next += count);
    }
}

/// Appends to the segment of `before` bytes: all of it or nothing.
fn write(file: Option<File>, path: &Path, before: u64, bytes: &[u8]) -> io::Result<File> {
    let file = match file {
        Some(file) => file,
        None => open(path, before)?,
    };
    let written =
        file.write_all_at(bytes, before).and_then(|()| fault::reach(FaultPoint::CommandOutputWritten));
    if let Err(error) = written {
        // What was written of it would stand in the place of what comes next.
        if file.set_len(before).is_err() || before == 0 {
            drop(fs::remove_file(path));
        }
        return Err(error);
    }
    Ok(file)
}

fn open(path: &Path, bytes: u64) -> io::Result<File> {
    let open = || OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = match (open(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            open()?
        }
        (opened, _) => opened?,
    };
    // Whatever a writer that was killed left beyond what is known.
    file.set_len(bytes)?;
    Ok(file)
}

/// Reads a spool to its end, however long that takes. What it has not taken is kept for it.
#[derive(Debug)]
pub(crate) struct Follower {
    spool: Arc<Spool>,
    progress: watch::Receiver<Progress>,
    id: u64,
    position: u64,
}

impl Follower {
    /// Follows from `offset` on.
    pub(crate) fn new(spool: Arc<Spool>, offset: u64) -> Self {
        let progress = spool.progress.subscribe();
        let id = {
            let mut state = spool.lock();
            state.last_follower += 1;
            let id = state.last_follower;
            state.followers.insert(id, offset);
            id
        };
        Self { spool, progress, id, position: offset }
    }

    /// Offset of what comes next.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What comes next; none at the end. What was returned before counts as taken. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Piece>> {
        self.spool.lock().followers.insert(self.id, self.position);
        self.spool.moved.notify_waiters();
        let position = self.position;
        let waited = self.progress.wait_for(|progress| progress.next > position || progress.ended).await;
        // The sender lives as long as the spool.
        let next = waited.map_or(0, |progress| progress.next);
        if next <= position {
            return Ok(None);
        }
        let spool = Arc::clone(&self.spool);
        let read = tokio::task::spawn_blocking(move || spool.read(position, PIECE_BYTES)).await;
        let piece = read.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        self.position = match &piece {
            Piece::Kept(bytes) => position + bytes.len() as u64,
            Piece::Dropped { until } => *until,
        };
        Ok(Some(piece))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.spool.lock().followers.remove(&self.id);
        self.spool.moved.notify_waiters();
    }
}

/// What lies in the directory of a workspace whose records were lost: a command for each output.
pub(crate) fn kept_outputs(workspace: &Path) -> Vec<CommandRecord> {
    let Ok(entries) = fs::read_dir(directory(workspace)) else { return Vec::new() };
    let sequence = |entry: io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name();
        let (sequence, _) = name.to_str()?.split_once('.')?;
        sequence.parse::<u64>().ok().filter(|sequence| *sequence > 0)
    };
    let mut sequences: Vec<u64> = entries.filter_map(sequence).collect();
    sequences.sort_unstable();
    sequences.dedup();
    let limits = SpoolLimits { head_bytes: 0, tail_bytes: 0 };
    let output = |sequence, kind| {
        let spool = Spool::open(Place::new(workspace, sequence, kind), limits);
        spool.map(|spool| spool.record()).unwrap_or_default()
    };
    let at = |sequence| {
        let head = |kind| fs::metadata(Place::new(workspace, sequence, kind).head);
        let file = head(OutputKind::Stdout).or_else(|_| head(OutputKind::Stderr));
        file.and_then(|file| file.modified()).unwrap_or(std::time::UNIX_EPOCH)
    };
    let command = |sequence| {
        let (stdout, stderr) = (output(sequence, OutputKind::Stdout), output(sequence, OutputKind::Stderr));
        CommandRecord::lost(sequence, stdout, stderr, at(sequence))
    };
    sequences.into_iter().map(command).collect()
}
