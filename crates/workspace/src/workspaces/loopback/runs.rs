//! Runs beside workspaces: both live from one budget.

use super::*;
use crate::run::{RunEvent, RunIo, RunOutcome, RunRequest};

/// A run that lasts until its input ends.
struct Lasting {
    input: mpsc::Sender<Bytes>,
    outcome: tokio::task::JoinHandle<Result<RunOutcome, Error>>,
}

/// Begins a run, and waits until its command is started or the run is refused.
async fn begin(host: &Host, mem_mib: u32) -> Result<Lasting, Error> {
    let (input, stdin) = mpsc::channel(1);
    let (events, mut heard) = mpsc::channel(10_000);
    let io = RunIo { events, stdin, cancel: CancellationToken::new() };
    let request = RunRequest {
        cwd: Some(b"/tmp".to_vec()),
        mem_mib,
        stdin: true,
        timeout: Duration::from_secs(100),
        ..RunRequest::new(ENVIRONMENT, vec![b"cat".to_vec()])
    };
    let host = host.clone();
    let outcome = tokio::spawn(async move { host.run(request, io).await });
    while let Some(event) = heard.recv().await {
        if matches!(event, RunEvent::Executing(_)) {
            tokio::spawn(async move { while heard.recv().await.is_some() {} });
            return Ok(Lasting { input, outcome });
        }
    }
    Err(outcome.await.unwrap().unwrap_err())
}

impl Lasting {
    async fn end(self) {
        let Self { input, outcome } = self;
        drop(input);
        outcome.await.unwrap().unwrap();
    }
}

#[test]
fn a_run_takes_from_the_budget_and_is_refused_by_it() {
    super::in_namespace(module_path!(), "a_run_takes_from_the_budget_and_is_refused_by_it", || async {
        let home = Home::new();
        let host = home.open_with(Limits { memory_budget_mib: 2500, ..LIMITS }).await.unwrap();
        let refusal = |error| match error {
            Error::LimitReached { limit: "memory_budget_mib", reason } => reason,
            other => panic!("{other}"),
        };
        let [first, second] = [begin(&host, 1024).await.unwrap(), begin(&host, 1024).await.unwrap()];
        let third = refusal(begin(&host, 1024).await.err().unwrap());
        assert!(third.contains("2 runs have 2048 MiB") && third.contains("2500 MiB"), "{third}");
        let workspace = refusal(create(&host, request()).await.unwrap_err());
        assert!(workspace.contains("2 runs have 2048 MiB"), "{workspace}");
        first.end().await;
        let id = created(&host, request()).await;
        let beside = refusal(begin(&host, 1024).await.err().unwrap());
        assert!(beside.contains("workspaces have 1024 MiB, 1 run has 1024 MiB"), "{beside}");
        second.end().await;
        begin(&host, 1024).await.unwrap().end().await;
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_run_that_is_left_is_settled_when_nothing_of_it_is_there() {
    super::in_namespace(
        module_path!(),
        "a_run_that_is_left_is_settled_when_nothing_of_it_is_there",
        || async {
            let home = Home::new();
            let host = home.host().await;
            for _ in 0..5 {
                let Lasting { input, outcome } = begin(&host, 1024).await.unwrap();
                outcome.abort();
                assert!(outcome.await.unwrap_err().is_cancelled());
                host.settled().await;
                home.assert_nothing_is_left(&host).await;
                drop(input);
            }
        },
    );
}
