//! The daemon's life with a scripted handler: real sockets, real HTTP, the real client.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixStream as BlockingStream,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use pyro_api::{
    Client, ErrorBody, ErrorCode, OPERATIONS, Output, Starter,
    environment::{
        EnvImportRequest, EnvInspectRequest, EnvListRequest, EnvPruneRequest, EnvPullRequest, Environment,
        EnvironmentList, Progress, PruneResult, PullEvent, PulledEnvironment,
    },
    frame::Kind,
    operation::{DeleteFile, EnvList, EnvPrune, EnvPull, GetStatus, Run, Shutdown, StatFile},
    run::{Cleanup, CommandLine, EXECUTION_MODE, RunReport, RunRequest},
    service::{ShutdownRequest, StatusRequest},
    workspace::{
        diff::{WorkspaceDiff, WorkspaceDiffRequest},
        files::{FileChanged, FileDeleteRequest, FileMkdirRequest, FileStat, FileStatRequest},
    },
};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use super::{handler::Streams, *};

/// `cat` copies its input; `linger` leaves a machine behind, as one that is cleaned up; `hang` waits for its cancellation;
/// `panic` panics; `gate` waits for the test.
#[derive(Debug, Default)]
struct Script {
    gate: Notify,
    cancelled: Notify,
    begun: Notify,
    finished: Notify,
    live: watch::Sender<usize>,
    is_waited_for: Notify,
}

#[derive(Clone, Debug, Default)]
struct Scripted(Arc<Script>);

#[async_trait]
impl Handler for Scripted {
    async fn run(&self, request: RunRequest, mut streams: Streams) -> Result<RunReport, ErrorBody> {
        let script = &self.0;
        let command = request.command.display();
        script.begun.notify_one();
        match command.as_str() {
            "cat" => {
                while let Some(bytes) = streams.stdin.recv().await {
                    streams.output.bytes(Kind::Stdout, bytes).await.unwrap();
                }
            }
            "hang" => {
                script.live.send_modify(|live| *live += 1);
                streams.cancel.cancelled().await;
                script.live.send_modify(|live| *live -= 1);
                script.cancelled.notify_one();
                return Err(ErrorBody::new(ErrorCode::Cancelled, "cancelled"));
            }
            "panic" => panic!("as scripted"),
            "linger" => script.live.send_modify(|live| *live += 1),
            "gate" => script.gate.notified().await,
            other => streams.output.bytes(Kind::Stderr, Bytes::from(other.to_owned())).await.unwrap(),
        }
        Ok(report(&command))
    }

    async fn env_list(&self, _: EnvListRequest) -> Result<EnvironmentList, ErrorBody> {
        Ok(EnvironmentList { catalog_version: "scripted".into(), environments: Vec::new() })
    }

    async fn env_inspect(&self, request: EnvInspectRequest) -> Result<Environment, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::UnknownEnvironment, request.environment))
    }

    async fn env_pull(&self, _: EnvPullRequest, streams: Streams) -> Result<PulledEnvironment, ErrorBody> {
        let progress = Progress { step: "scripted".into(), fraction: Some(0.5), detail: String::new() };
        streams.output.event(&PullEvent::Progress(progress)).await.unwrap();
        streams.cancel.cancelled().await;
        self.0.cancelled.notify_one();
        Err(ErrorBody::new(ErrorCode::Cancelled, "cancelled"))
    }

    async fn env_prune(&self, _: EnvPruneRequest) -> Result<PruneResult, ErrorBody> {
        panic!("as scripted")
    }

    async fn env_import(&self, _: EnvImportRequest, _: Streams) -> Result<PulledEnvironment, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::FileFailed, "scripted"))
    }

    /// Hangs until it is broken off.
    async fn workspace_diff(&self, _: WorkspaceDiffRequest) -> Result<WorkspaceDiff, ErrorBody> {
        struct BrokenOff(Arc<Script>);
        impl Drop for BrokenOff {
            fn drop(&mut self) {
                self.0.cancelled.notify_one();
            }
        }
        let _broken_off = BrokenOff(Arc::clone(&self.0));
        self.0.begun.notify_one();
        std::future::pending().await
    }

    async fn workspace_file_mkdir(&self, _: FileMkdirRequest) -> Result<FileChanged, ErrorBody> {
        self.0.begun.notify_one();
        self.0.gate.notified().await;
        self.0.finished.notify_one();
        Err(ErrorBody::new(ErrorCode::AlreadyExists, "scripted"))
    }

    async fn workspace_file_stat(&self, _: FileStatRequest) -> Result<FileStat, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::MachineLost, "scripted"))
    }

    async fn workspace_file_delete(&self, _: FileDeleteRequest) -> Result<FileChanged, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::MachineLost, "scripted"))
    }

    fn live(&self) -> usize {
        *self.0.live.borrow()
    }

    async fn settled(&self) {
        self.0.is_waited_for.notify_one();
        self.0.live.subscribe().wait_for(|live| *live == 0).await.unwrap();
    }
}

fn report(command: &str) -> RunReport {
    let vm_id = "0123456789ab".to_owned();
    RunReport {
        environment: "debian:12".into(),
        environment_version: None,
        command: command.into(),
        exit_code: 0,
        signal: None,
        timed_out: false,
        duration_ms: 0,
        out_of_memory: false,
        command_duration_ms: 0,
        phases_ms: BTreeMap::new(),
        execution_mode: EXECUTION_MODE.into(),
        isolation: "emulated".into(),
        start: "restored".into(),
        stdout_bytes: 0,
        stderr_bytes: 0,
        cleanup: Cleanup { vm_id: vm_id.clone(), deleted: true, reason: "post_exec_cleanup".into() },
        vm_id,
    }
}

/// A daemon inside the test.
struct Daemon {
    _directory: TempDir,
    script: Arc<Script>,
    client: Client,
    server: Arc<Server<Scripted>>,
    socket: SocketPath,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

const LONG: Duration = Duration::from_secs(3600);

impl Daemon {
    fn begin(idle: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = SocketPath::new(directory.path().join("run"), "daemon.sock");
        let start_lock = directory.path().join("start.lock");
        let scripted = Scripted::default();
        let script = Arc::clone(&scripted.0);
        let server = Arc::new(Server::new(scripted, String::new(), String::new()));
        let listener = Listener::bind(&socket).unwrap();
        let service = Service { socket: socket.clone(), start_lock, idle };
        let serving = tokio::spawn({
            let server = Arc::clone(&server);
            async move { service.serve(listener, &server).await }
        });
        Self { _directory: directory, script, client: Client::new(socket.clone()), server, socket, serving }
    }

    async fn run(&self, command: &str) -> pyro_api::Exchange<Run> {
        let request =
            RunRequest { stdin: true, ..RunRequest::new("debian:12", CommandLine::Shell(command.into())) };
        self.client.stream::<Run>(&request).await.unwrap()
    }
}

#[tokio::test]
async fn input_comes_back_whatever_its_size_and_bytes() {
    let daemon = Daemon::begin(LONG);
    let mut exchange = daemon.run("cat").await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let input = exchange.input();
    let feeding = tokio::spawn({
        let bytes = Bytes::from(sent.clone());
        async move {
            assert!(input.stdin(bytes).await);
            input.stdin_eof().await;
        }
    });
    let mut received = Vec::new();
    loop {
        match exchange.next().await.unwrap() {
            Output::Stdout(bytes) => received.extend_from_slice(&bytes),
            Output::Result(report) => break assert_eq!(report.command, "cat"),
            other => panic!("{other:?}"),
        }
    }
    feeding.await.unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn a_cancellation_behind_unread_input_is_answered() {
    let daemon = Daemon::begin(LONG);
    let mut exchange = daemon.run("hang").await;
    let input = exchange.input();
    let feeding = tokio::spawn({
        let input = input.clone();
        async move { input.stdin(Bytes::from(vec![0; 8_000_000])).await }
    });
    daemon.script.begun.notified().await;
    input.cancel().await;
    let error = ErrorBody::from(exchange.next().await.unwrap_err());
    assert_eq!(error.code, ErrorCode::Cancelled);
    feeding.abort();
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_work() {
    let daemon = Daemon::begin(LONG);
    let exchange = daemon.run("hang").await;
    daemon.script.begun.notified().await;
    drop(exchange);
    daemon.script.cancelled.notified().await;
    // The same when there never was any input to send.
    let request = EnvPullRequest { environment: "x".into() };
    let mut exchange = daemon.client.stream::<EnvPull>(&request).await.unwrap();
    assert!(matches!(exchange.next().await.unwrap(), Output::Event(PullEvent::Progress(_))));
    drop(exchange);
    daemon.script.cancelled.notified().await;
    daemon.server.activity().idle_for(Duration::ZERO).await;
}

/// Asks, and hangs up when that has begun.
async fn ask_and_hang_up(daemon: &Daemon, path: &str, body: &str) {
    use std::io::Write as _;
    let mut stream = daemon.socket.connect().unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\npyro-api-version: 1");
    write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    daemon.script.begun.notified().await;
}

#[tokio::test]
async fn what_only_reads_ends_with_its_client_and_what_changes_something_goes_on() {
    let daemon = Daemon::begin(LONG);
    ask_and_hang_up(&daemon, "/v1/workspace_diff", r#"{"workspace_id":"x"}"#).await;
    daemon.script.cancelled.notified().await;
    daemon.server.activity().at_most(0).await;

    let body = r#"{"workspace_id":"x","path":"d"}"#;
    ask_and_hang_up(&daemon, "/v1/workspace_file_mkdir", body).await;
    // It is counted among the requests in work, so the daemon does not end under it.
    let status = daemon.client.call::<GetStatus>(&StatusRequest {}).await.unwrap();
    assert_eq!(status.requests, 1);
    daemon.script.gate.notify_one();
    daemon.script.finished.notified().await;
    daemon.server.activity().at_most(0).await;
}

#[tokio::test]
async fn whether_to_ask_again_depends_on_what_was_asked() {
    let daemon = Daemon::begin(LONG);
    let request = r#"{"workspace_id":"x","path":"d"}"#;
    let read: FileStatRequest = serde_json::from_str(request).unwrap();
    let change: FileDeleteRequest = serde_json::from_str(request).unwrap();
    let read = ErrorBody::from(daemon.client.call::<StatFile>(&read).await.unwrap_err());
    let change = ErrorBody::from(daemon.client.call::<DeleteFile>(&change).await.unwrap_err());
    assert_eq!((read.code, read.retryable), (ErrorCode::MachineLost, true));
    assert_eq!((change.code, change.retryable), (ErrorCode::MachineLost, false));
}

#[tokio::test]
async fn a_panic_is_the_failure_of_one_request() {
    let daemon = Daemon::begin(LONG);
    let error = ErrorBody::from(daemon.run("panic").await.next().await.unwrap_err());
    assert_eq!(error.code, ErrorCode::Internal);
    let error = ErrorBody::from(daemon.client.call::<EnvPrune>(&EnvPruneRequest {}).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::Internal);
    let list = daemon.client.call::<EnvList>(&EnvListRequest {}).await.unwrap();
    assert_eq!(list.catalog_version, "scripted");
}

#[tokio::test]
async fn a_long_command_line_is_no_problem() {
    let daemon = Daemon::begin(LONG);
    let command = "x".repeat(900_000);
    let mut exchange = daemon.run(&command).await;
    let mut told = 0;
    loop {
        match exchange.next().await.unwrap() {
            Output::Stderr(bytes) => told += bytes.len(),
            Output::Result(report) => break assert_eq!(report.command.len(), command.len()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, command.len());
}

#[tokio::test]
async fn it_ends_for_want_of_work_but_not_during_work() {
    let daemon = Daemon::begin(Duration::from_millis(50));
    let mut exchange = daemon.run("gate").await;
    daemon.script.begun.notified().await;
    // Longer than the idle time with work and with no other request.
    let status = daemon.client.call::<GetStatus>(&StatusRequest {}).await.unwrap();
    assert_eq!(status.requests, 1);
    assert!(tokio::time::timeout(Duration::from_millis(200), exchange.next()).await.is_err());
    daemon.script.gate.notify_one();
    assert!(matches!(exchange.next().await.unwrap(), Output::Result(_)));
    daemon.serving.await.unwrap().unwrap();
    assert_eq!(daemon.socket.connect().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn it_does_not_end_while_somebody_starts_one() {
    let directory = tempfile::tempdir().unwrap();
    let socket = SocketPath::new(directory.path(), "daemon.sock");
    let start_lock = directory.path().join("start.lock");
    let server = Arc::new(Server::new(Scripted::default(), String::new(), String::new()));
    let service = Service { socket: socket.clone(), start_lock: start_lock.clone(), idle: Duration::ZERO };
    let starting = std::fs::File::create(&start_lock).unwrap();
    starting.lock().unwrap();
    let listener = Listener::bind(&socket).unwrap();
    let Turn::GoOn(listener) = service.end_for_want_of_work(listener, &server).unwrap() else {
        panic!("it ended");
    };
    drop(starting);
    // Somebody had connected before it gave up its socket: it serves on, at a new one.
    let connected = socket.connect().unwrap();
    let Turn::GoOn(listener) = service.end_for_want_of_work(listener, &server).unwrap() else {
        panic!("it ended");
    };
    assert!(listener.is_in_place());
    drop(connected);
    server.activity().idle_for(Duration::ZERO).await;
    assert!(matches!(service.end_for_want_of_work(listener, &server).unwrap(), Turn::End));
}

#[tokio::test]
async fn a_lost_runtime_directory_is_made_again() {
    let daemon = Daemon::begin(LONG);
    daemon.client.call::<GetStatus>(&StatusRequest {}).await.unwrap();
    std::fs::remove_dir_all(daemon.socket.directory()).unwrap();
    let again = async {
        let mut look = interval(Duration::from_millis(20));
        while daemon.socket.connect().is_err() {
            look.tick().await;
        }
    };
    timeout(Duration::from_secs(20), again).await.unwrap();
    daemon.client.call::<GetStatus>(&StatusRequest {}).await.unwrap();
}

#[tokio::test]
async fn it_ends_when_told_and_cancels_what_is_in_work() {
    let daemon = Daemon::begin(LONG);
    let mut exchange = daemon.run("hang").await;
    daemon.script.begun.notified().await;
    let error = daemon.client.call::<Shutdown>(&ShutdownRequest { force: false }).await.unwrap_err();
    assert_eq!(ErrorBody::from(error).code, ErrorCode::DaemonBusy);
    daemon.client.call::<Shutdown>(&ShutdownRequest { force: true }).await.unwrap();
    assert_eq!(ErrorBody::from(exchange.next().await.unwrap_err()).code, ErrorCode::Cancelled);
    drop(exchange);
    daemon.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_only_cleaned_up_is_waited_for_when_it_is_told_to_end() {
    let daemon = Daemon::begin(LONG);
    let mut exchange = daemon.run("linger").await;
    assert!(matches!(exchange.next().await.unwrap(), Output::Result(_)));
    drop(exchange);
    let request = ShutdownRequest { force: false };
    let cleaning_up = async {
        daemon.script.is_waited_for.notified().await;
        daemon.script.live.send_replace(0);
    };
    let (answer, ()) = tokio::join!(daemon.client.call::<Shutdown>(&request), cleaning_up);
    assert!(answer.unwrap().stopping);
    daemon.serving.await.unwrap().unwrap();
}

/// Starts a scripted daemon in the test's own process, as often as it is asked to.
struct CountingStarter {
    started: AtomicUsize,
    daemons: Mutex<Vec<Daemon>>,
}

#[async_trait]
impl Starter for CountingStarter {
    async fn start(&self) -> Result<(), ErrorBody> {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner).push(Daemon::begin(LONG));
        Ok(())
    }
}

#[tokio::test]
async fn a_client_starts_once_and_says_so_when_that_was_in_vain() {
    let directory = tempfile::tempdir().unwrap();
    let socket = SocketPath::new(directory.path().join("run"), "daemon.sock");
    // A stale socket, as a killed daemon leaves it.
    std::fs::create_dir(socket.directory()).unwrap();
    drop(socket.listen().unwrap());
    let starter = Arc::new(CountingStarter { started: AtomicUsize::new(0), daemons: Mutex::default() });
    let client = Client::new(socket).starting_with(Arc::clone(&starter) as Arc<dyn Starter>);
    let error = ErrorBody::from(client.call::<EnvList>(&EnvListRequest {}).await.unwrap_err());
    assert_eq!(
        (error.code, error.work_started, error.retryable),
        (ErrorCode::DaemonUnavailable, Some(false), true)
    );
    assert_eq!(starter.started.load(Ordering::SeqCst), 1);
}

/// Speaks HTTP by hand, as a client of another make would.
async fn raw(daemon: &Daemon, head: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stream: BlockingStream = daemon.socket.connect().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::UnixStream::from_std(stream).unwrap();
    let request = format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn every_operation_has_a_route() {
    let daemon = Daemon::begin(LONG);
    for operation in OPERATIONS.iter().filter(|operation| operation.name != "shutdown") {
        let head = format!("POST {} HTTP/1.1\r\npyro-api-version: 1", operation.path);
        let answer = raw(&daemon, &head, "nonsense").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{}: {answer}", operation.name);
        assert!(answer.contains("invalid_request"), "{}: {answer}", operation.name);
        assert!(answer.to_lowercase().contains("pyro-api-version: 1"), "{answer}");
    }
}

#[tokio::test]
async fn strangers_are_told_what_is_wrong() {
    let daemon = Daemon::begin(LONG);
    for (head, status, code) in [
        ("POST /v1/env_list HTTP/1.1", "426", "incompatible_version"),
        ("POST /v1/env_list HTTP/1.1\r\npyro-api-version: 2", "426", "incompatible_version"),
        ("POST /v1/fly HTTP/1.1\r\npyro-api-version: 1", "404", "unknown_operation"),
        ("GET /v1/env_list HTTP/1.1\r\npyro-api-version: 1", "404", "unknown_operation"),
    ] {
        let answer = raw(&daemon, head, "{}").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code),
            "{head}: {answer}"
        );
    }
    let head = "POST /v1/env_inspect HTTP/1.1\r\npyro-api-version: 1";
    let answer = raw(&daemon, head, r#"{"environment":"x","verfy":true}"#).await;
    assert!(answer.contains("invalid_request") && answer.contains("verfy"), "{answer}");
    // Any client may ask how a daemon is, and end it.
    let answer = raw(&daemon, "POST /v1/status HTTP/1.1\r\npyro-api-version: 99", "{}").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
