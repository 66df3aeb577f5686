//! A small client for QEMU's control socket: the commands this crate needs, as types.
//!
//! Commands may be sent without waiting for earlier answers; each carries an id by which its answer is found. Events that
//! nobody waits for are dropped. When the socket ends, every waiting and later command fails with [`QmpError::Ended`].

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{broadcast, oneshot},
    task::JoinHandle,
};

/// QEMU answers in milliseconds; one that takes this long hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A VMM that sends more is broken or hostile. The longest answer that is asked for tells of the nodes of a disk, each with all nodes
/// below it in its name: 1 MiB with 90 layers.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// Events kept for who is slow to take them; a machine has a handful in its life.
const EVENTS: usize = 64;

/// The commands this crate sends.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "execute", content = "arguments")]
#[expect(missing_docs, reason = "QEMU's reference documents them under the same names")]
pub enum Command {
    #[serde(rename = "qmp_capabilities")]
    Capabilities {},
    #[serde(rename = "query-status")]
    QueryStatus {},
    #[serde(rename = "query-chardev")]
    QueryChardev {},
    #[serde(rename = "query-block")]
    QueryBlock {},
    #[serde(rename = "stop")]
    Stop {},
    #[serde(rename = "cont")]
    Cont {},
    #[serde(rename = "quit")]
    Quit {},
    #[serde(rename = "getfd")]
    GetFd { fdname: &'static str },
    #[serde(rename = "closefd")]
    CloseFd { fdname: &'static str },
    #[serde(rename = "migrate-set-capabilities")]
    MigrateSetCapabilities { capabilities: Vec<MigrationCapability> },
    #[serde(rename = "migrate-set-parameters", rename_all = "kebab-case")]
    MigrateSetParameters { max_bandwidth: u64 },
    #[serde(rename = "migrate")]
    Migrate { uri: String },
    #[serde(rename = "migrate-incoming")]
    MigrateIncoming { uri: String },
    #[serde(rename = "block_resize", rename_all = "kebab-case")]
    BlockResize { node_name: String, size: u64 },
    #[serde(rename = "add-fd", rename_all = "kebab-case")]
    AddFd {
        #[serde(skip_serializing_if = "Option::is_none")]
        fdset_id: Option<i64>,
        opaque: String,
    },
    #[serde(rename = "remove-fd", rename_all = "kebab-case")]
    RemoveFd {
        fdset_id: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        fd: Option<i64>,
    },
    #[serde(rename = "query-fdsets")]
    QueryFdsets {},
    #[serde(rename = "query-named-block-nodes")]
    QueryNamedBlockNodes { flat: bool },
    #[serde(rename = "blockdev-add")]
    BlockdevAdd(NewNode),
    #[serde(rename = "blockdev-del", rename_all = "kebab-case")]
    BlockdevDel { node_name: String },
    #[serde(rename = "blockdev-snapshot")]
    BlockdevSnapshot { node: String, overlay: String },
    #[serde(rename = "xen-save-devices-state")]
    SaveDevices { filename: String, live: bool },
    #[serde(rename = "dump-guest-memory")]
    DumpGuestMemory { paging: bool, protocol: String, detach: bool },
    #[serde(rename = "query-dump")]
    QueryDump {},
}

/// A layer of a disk that is not yet part of one: a copy-on-write image over nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewNode {
    driver: &'static str,
    node_name: String,
    read_only: bool,
    discard: &'static str,
    backing: Option<()>,
    file: NewFile,
}

/// The bytes of a [`NewNode`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct NewFile {
    driver: &'static str,
    node_name: String,
    filename: String,
    read_only: bool,
    auto_read_only: bool,
    discard: &'static str,
    locking: &'static str,
}

/// One switch of migration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MigrationCapability {
    /// QEMU's name of it.
    pub capability: &'static str,
    /// On or off.
    pub state: bool,
}

impl Command {
    /// Leaves shared memory out of the stream, and reports migration by events.
    pub fn device_state_only() -> Self {
        let on = |capability| MigrationCapability { capability, state: true };
        Self::MigrateSetCapabilities { capabilities: vec![on("x-ignore-shared"), on("events")] }
    }

    /// Opens what a set of descriptors has as the layer of this name, with all that a layer on the command line has.
    pub fn add_layer(node_name: String, fdset_id: i64) -> Self {
        Self::BlockdevAdd(NewNode {
            driver: "qcow2",
            read_only: false,
            discard: "unmap",
            backing: None,
            file: NewFile {
                driver: "file",
                node_name: format!("{node_name}-file"),
                filename: format!("/dev/fdset/{fdset_id}"),
                read_only: false,
                auto_read_only: true,
                discard: "unmap",
                locking: "off",
            },
            node_name,
        })
    }
}

/// Something QEMU reports by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The virtual processors run.
    Resume,
    /// The virtual processors stand still.
    Stop,
    /// The machine ends; the reason is QEMU's word, e.g. `guest-shutdown`.
    Shutdown {
        /// QEMU's word for it.
        reason: String,
    },
    /// A save or restore went on to this status.
    Migration {
        /// QEMU's word for it, e.g. `completed`.
        status: String,
    },
    /// One this crate does not use.
    Other(String),
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// QEMU refused it.
    #[error("qemu answered {class}: {description}")]
    Refused {
        /// QEMU's error class.
        class: String,
        /// QEMU's words.
        description: String,
    },
    /// The socket ended: QEMU is gone.
    #[error("the control socket ended")]
    Ended,
    /// Nothing came in time.
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// The save or restore ended with this status.
    #[error("migration ended as {status:?}")]
    Migration {
        /// QEMU's word for it.
        status: String,
    },
    /// An answer is not what QEMU's schema promises.
    #[error("qemu's answer lacks {lacks}")]
    Strange {
        /// What was looked for.
        lacks: &'static str,
    },
    /// The socket failed.
    #[error("use the control socket")]
    Socket(#[source] io::Error),
}

#[derive(Deserialize)]
struct Line {
    id: Option<u64>,
    #[serde(rename = "return")]
    result: Option<Value>,
    error: Option<Refusal>,
    event: Option<String>,
    data: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    class: String,
    desc: String,
}

#[derive(Serialize)]
struct Numbered<'a> {
    #[serde(flatten)]
    command: &'a Command,
    id: u64,
}

type Answer = Result<Value, QmpError>;

/// Who waits for what QEMU says. Dropping it tells them all.
#[derive(Debug)]
struct Listeners {
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    events: broadcast::Sender<Event>,
}

/// `None` once the socket has ended.
type Listening = Arc<Mutex<Option<Listeners>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds these locks, and a map is never half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to one QEMU.
#[derive(Debug)]
pub struct Qmp {
    writer: tokio::sync::Mutex<tokio::net::unix::OwnedWriteHalf>,
    listening: Listening,
    next_id: AtomicU64,
    reader: JoinHandle<()>,
}

/// Answers to come, one for each command of a [`Qmp::send`], in order.
#[derive(Debug)]
pub struct Answers(Vec<oneshot::Receiver<Answer>>);

impl Answers {
    /// Waits for all; the first refusal ends it.
    pub async fn all(self) -> Result<Vec<Value>, QmpError> {
        let mut values = Vec::with_capacity(self.0.len());
        for answer in self.0 {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| QmpError::Silent)?;
            values.push(answer.map_err(|_| QmpError::Ended)??);
        }
        Ok(values)
    }
}

impl Qmp {
    /// Takes a connected socket. The capabilities are the caller's first command.
    pub fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (events, _) = broadcast::channel(EVENTS);
        let listeners = Listeners { answers: HashMap::new(), events };
        let listening: Listening = Arc::new(Mutex::new(Some(listeners)));
        let reader = tokio::spawn(dispatch(reader, listening.clone()));
        Self { writer: writer.into(), listening, next_id: AtomicU64::new(1), reader }
    }

    /// Events from now on. The channel closes when QEMU is gone or this connection is dropped.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        match &*lock(&self.listening) {
            Some(listeners) => listeners.events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Sends commands in one piece, with the descriptor for the `getfd` or `add-fd` among them: QEMU takes one at a time.
    pub async fn send(
        &self,
        commands: &[Command],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answers, QmpError> {
        let mut bytes = Vec::new();
        let mut answers = Vec::new();
        for command in commands {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            lock(&self.listening).as_mut().ok_or(QmpError::Ended)?.answers.insert(id, sender);
            answers.push(receiver);
            serde_json::to_writer(&mut bytes, &Numbered { command, id })
                .map_err(|e| QmpError::Socket(e.into()))?;
            bytes.push(b'\n');
        }
        self.write(&bytes, descriptors).await.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => QmpError::Ended,
            _ => QmpError::Socket(e),
        })?;
        Ok(Answers(answers))
    }

    /// Sends one command and waits for its answer.
    pub async fn execute(&self, command: Command) -> Result<Value, QmpError> {
        self.execute_with(command, &[]).await
    }

    /// The same with a descriptor.
    pub async fn execute_with(
        &self,
        command: Command,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Value, QmpError> {
        let mut answers = self.send(&[command], descriptors).await?.all().await?;
        answers.pop().ok_or(QmpError::Ended)
    }

    async fn write(&self, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let writer = self.writer.lock().await;
        let stream: &UnixStream = writer.as_ref();
        while !bytes.is_empty() {
            let sent = stream.async_io(Interest::WRITABLE, || {
                let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
                    return Err(io::Error::from(io::ErrorKind::InvalidInput));
                }
                Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
            });
            bytes = bytes.get(sent.await?..).unwrap_or_default();
            descriptors = &[];
        }
        Ok(())
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Hands every line to whom it belongs, until the socket ends or says something that is not QMP.
async fn dispatch(reader: OwnedReadHalf, listening: Listening) {
    let mut reader = BufReader::new(reader);
    let mut text = Vec::new();
    loop {
        text.clear();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut text).await {
            Ok(length) if length > 0 => {}
            _ => break,
        }
        let Ok(line) = serde_json::from_slice::<Line>(&text) else { break };
        if let Some(name) = line.event {
            if let Some(listeners) = &*lock(&listening) {
                // Nobody listening is fine.
                drop(listeners.events.send(event(name, line.data.as_ref())));
            }
        } else if let Some(id) = line.id {
            let waiter = lock(&listening).as_mut().and_then(|listeners| listeners.answers.remove(&id));
            let answer = match line.error {
                Some(Refusal { class, desc }) => Err(QmpError::Refused { class, description: desc }),
                None => Ok(line.result.unwrap_or_default()),
            };
            if let Some(waiter) = waiter {
                // The asker may have gone away.
                drop(waiter.send(answer));
            }
        }
    }
    lock(&listening).take();
}

fn event(name: String, data: Option<&Value>) -> Event {
    let word = |key: &str| {
        data.and_then(|data| data.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    match name.as_str() {
        "RESUME" => Event::Resume,
        "STOP" => Event::Stop,
        "SHUTDOWN" => Event::Shutdown { reason: word("reason") },
        "MIGRATION" => Event::Migration { status: word("status") },
        _ => Event::Other(name),
    }
}

#[cfg(test)]
mod tests {
    use qapi::qmp;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn answers_are_found_by_id_and_unknown_events_are_passed_over() {
        let (client, mut server) = UnixStream::pair().unwrap();
        let qmp = Qmp::new(client);
        let mut events = qmp.events();
        let answers = qmp.send(&[Command::Stop {}, Command::Cont {}], &[]).await.unwrap();
        let mut received = vec![0; 200];
        let length = server.read(&mut received).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&received[..length]),
            "{\"execute\":\"stop\",\"arguments\":{},\"id\":1}\n{\"execute\":\"cont\",\"arguments\":{},\"id\":2}\n"
        );
        server
            .write_all(
                b"{\"QMP\":{}}\n{\"event\":\"NEWS\",\"data\":{}}\n{\"return\":{},\"id\":2}\n\
                {\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}\n\
                {\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":1}\n",
            )
            .await
            .unwrap();
        assert!(matches!(answers.all().await, Err(QmpError::Refused { .. })));
        assert_eq!(events.recv().await.unwrap(), Event::Other("NEWS".into()));
        assert_eq!(events.recv().await.unwrap(), Event::Shutdown { reason: "guest-reset".into() });
    }

    /// Whether QEMU's schema has this command with these arguments: what it does not know is lost on the way there
    /// and back, and what it cannot do without fails. A null, which says that there is nothing, does not come back.
    fn is_of_the_schema<C: qapi::Command + serde::de::DeserializeOwned>(ours: &Command) {
        let mut ours = serde_json::to_value(ours).unwrap();
        assert_eq!(ours["execute"], C::NAME);
        ours["arguments"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let typed: C = serde_json::from_value(ours["arguments"].clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), ours["arguments"]);
    }

    #[test]
    fn every_command_is_of_qemus_schema() {
        let uri = || "fd:state".to_owned();
        for command in [
            Command::Capabilities {},
            Command::QueryStatus {},
            Command::QueryChardev {},
            Command::QueryBlock {},
            Command::Stop {},
            Command::Cont {},
            Command::Quit {},
            Command::GetFd { fdname: "state" },
            Command::device_state_only(),
            Command::MigrateSetParameters { max_bandwidth: 1 << 40 },
            Command::Migrate { uri: uri() },
            Command::MigrateIncoming { uri: uri() },
            Command::BlockResize { node_name: "disk".to_owned(), size: 1 << 40 },
            Command::AddFd { fdset_id: None, opaque: "layer-1 write".to_owned() },
            Command::AddFd { fdset_id: Some(3), opaque: "layer-1 read".to_owned() },
            Command::RemoveFd { fdset_id: 3, fd: None },
            Command::RemoveFd { fdset_id: 3, fd: Some(17) },
            Command::QueryFdsets {},
            Command::QueryNamedBlockNodes { flat: true },
            Command::add_layer("layer-1".to_owned(), 3),
            Command::BlockdevDel { node_name: "layer-1".to_owned() },
            Command::BlockdevSnapshot { node: "layer-1".to_owned(), overlay: "layer-2".to_owned() },
            Command::SaveDevices { filename: "/dev/fdset/3".to_owned(), live: false },
            Command::CloseFd { fdname: "memory" },
            Command::DumpGuestMemory { paging: false, protocol: "fd:memory".to_owned(), detach: true },
            Command::QueryDump {},
        ] {
            // Without a wildcard, so that a new command finds its way here.
            match &command {
                Command::Capabilities {} => is_of_the_schema::<qmp::qmp_capabilities>(&command),
                Command::QueryStatus {} => is_of_the_schema::<qmp::query_status>(&command),
                Command::QueryChardev {} => is_of_the_schema::<qmp::query_chardev>(&command),
                Command::QueryBlock {} => is_of_the_schema::<qmp::query_block>(&command),
                Command::Stop {} => is_of_the_schema::<qmp::stop>(&command),
                Command::Cont {} => is_of_the_schema::<qmp::cont>(&command),
                Command::Quit {} => is_of_the_schema::<qmp::quit>(&command),
                Command::GetFd { .. } => is_of_the_schema::<qmp::getfd>(&command),
                Command::MigrateSetCapabilities { .. } => {
                    is_of_the_schema::<qmp::migrate_set_capabilities>(&command);
                }
                Command::MigrateSetParameters { .. } => {
                    is_of_the_schema::<qmp::migrate_set_parameters>(&command);
                }
                Command::Migrate { .. } => is_of_the_schema::<qmp::migrate>(&command),
                Command::MigrateIncoming { .. } => is_of_the_schema::<qmp::migrate_incoming>(&command),
                Command::BlockResize { .. } => is_of_the_schema::<qmp::block_resize>(&command),
                Command::AddFd { .. } => is_of_the_schema::<qmp::add_fd>(&command),
                Command::RemoveFd { .. } => is_of_the_schema::<qmp::remove_fd>(&command),
                Command::QueryFdsets {} => is_of_the_schema::<qmp::query_fdsets>(&command),
                Command::QueryNamedBlockNodes { .. } => {
                    is_of_the_schema::<qmp::query_named_block_nodes>(&command);
                }
                Command::BlockdevAdd(_) => is_of_the_schema::<qmp::blockdev_add>(&command),
                Command::BlockdevDel { .. } => is_of_the_schema::<qmp::blockdev_del>(&command),
                Command::BlockdevSnapshot { .. } => is_of_the_schema::<qmp::blockdev_snapshot>(&command),
                Command::SaveDevices { .. } => is_of_the_schema::<qmp::xen_save_devices_state>(&command),
                Command::CloseFd { .. } => is_of_the_schema::<qmp::closefd>(&command),
                Command::DumpGuestMemory { .. } => is_of_the_schema::<qmp::dump_guest_memory>(&command),
                Command::QueryDump {} => is_of_the_schema::<qmp::query_dump>(&command),
            }
        }
    }

    #[test]
    fn a_new_layer_says_that_nothing_lies_below_it() {
        let text = serde_json::to_string(&Command::add_layer("layer-1".to_owned(), 3)).unwrap();
        assert!(
            text.contains(r#""backing":null"#) && text.contains(r#""filename":"/dev/fdset/3""#),
            "{text}"
        );
    }

    #[test]
    fn events_are_read_as_qemus_schema_writes_them() {
        fn read(event: &qmp::Event) -> Event {
            let line: Line = serde_json::from_value(serde_json::to_value(event).unwrap()).unwrap();
            super::event(line.event.unwrap(), line.data.as_ref())
        }
        let timestamp =
            || serde_json::from_str::<qapi::Timestamp>(r#"{"seconds":1,"microseconds":2}"#).unwrap();
        for (reason, word) in [
            (qmp::ShutdownCause::guest_shutdown, "guest-shutdown"),
            (qmp::ShutdownCause::guest_reset, "guest-reset"),
            (qmp::ShutdownCause::guest_panic, "guest-panic"),
        ] {
            let data = qmp::SHUTDOWN { guest: true, reason };
            let read = read(&qmp::Event::SHUTDOWN { data, timestamp: timestamp() });
            assert_eq!(read, Event::Shutdown { reason: word.to_owned() });
        }
        for (status, word) in [
            (qmp::MigrationStatus::completed, "completed"),
            (qmp::MigrationStatus::failed, "failed"),
            (qmp::MigrationStatus::cancelled, "cancelled"),
        ] {
            let data = qmp::MIGRATION { status };
            let read = read(&qmp::Event::MIGRATION { data, timestamp: timestamp() });
            assert_eq!(read, Event::Migration { status: word.to_owned() });
        }
        let resumed = qmp::Event::RESUME { data: qmp::RESUME {}, timestamp: timestamp() };
        assert_eq!(read(&resumed), Event::Resume);
        let stopped = qmp::Event::STOP { data: qmp::STOP {}, timestamp: timestamp() };
        assert_eq!(read(&stopped), Event::Stop);
    }

    #[tokio::test]
    async fn the_end_of_the_socket_ends_every_command_and_all_events() {
        let (client, server) = UnixStream::pair().unwrap();
        let qmp = Qmp::new(client);
        let mut events = qmp.events();
        let answers = qmp.send(&[Command::Stop {}], &[]).await.unwrap();
        drop(server);
        assert!(matches!(answers.all().await, Err(QmpError::Ended)));
        assert!(matches!(qmp.execute(Command::Cont {}).await, Err(QmpError::Ended)));
        assert_eq!(events.recv().await, Err(broadcast::error::RecvError::Closed));
        assert_eq!(qmp.events().recv().await, Err(broadcast::error::RecvError::Closed));
    }
}
