//! Starts at once: what they may take together, what is seen of them, and who has to wait for them.

use pyro_workspace::{
    Error, Host,
    workspaces::{WorkspaceId, WorkspaceState, WorkspaceView},
};
use tokio::task::JoinSet;

use crate::harness::{Home, MEM_MIB, shown, soon, view};

fn is_starting(view: &WorkspaceView) -> bool {
    matches!(view.record.state, WorkspaceState::Starting { .. })
}

type Starts = JoinSet<(WorkspaceId, Result<WorkspaceView, Error>)>;

fn begin(starts: &mut Starts, host: &Host, id: &WorkspaceId) {
    let (host, id) = (host.clone(), id.clone());
    starts.spawn(async move {
        let started = host.workspaces().start(id.as_str()).await;
        (id, started)
    });
}

#[tokio::test]
async fn of_two_starts_for_which_there_is_memory_for_one_the_other_is_refused() {
    let home = Home::new();
    let ids = [home.stopped(1, |_| ()).await, home.stopped(2, |_| ()).await];
    let host = home.host_with(u64::from(MEM_MIB) * 3 / 2).await;
    // No machine starts before both were decided.
    home.engine.gate.forget_permits(1000);
    let mut starts = Starts::new();
    ids.iter().for_each(|id| begin(&mut starts, &host, id));
    let (refused, answer) = soon(starts.join_next()).await.unwrap().unwrap();
    assert!(
        matches!(answer, Err(Error::LimitReached { limit: "memory_budget_mib", .. })),
        "{:?}",
        answer.err()
    );
    let other = ids.iter().find(|id| **id != refused).unwrap();
    assert!(is_starting(&view(&host, other).await));
    home.engine.gate.add_permits(1000);
    let (_, started) = soon(starts.join_next()).await.unwrap().unwrap();
    assert_eq!(started.unwrap().record.state.name(), "started");
}

#[tokio::test]
async fn what_waits_for_its_turn_to_start_can_be_deleted() {
    let home = Home::new();
    let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let mut ids = Vec::new();
    for number in 0..=at_once {
        ids.push(home.stopped(u8::try_from(number).unwrap(), |_| ()).await);
    }
    let host = home.host().await;
    home.engine.gate.forget_permits(1000);
    let mut starts = Starts::new();
    let last = ids.pop().unwrap();
    for id in &ids {
        begin(&mut starts, &host, id);
        shown(&host, id, is_starting).await;
    }
    begin(&mut starts, &host, &last);
    // It waits in vain.
    tokio::task::yield_now().await;
    assert!(!is_starting(&view(&host, &last).await));
    soon(host.workspaces().delete(last.as_str(), false)).await.unwrap();
    home.engine.gate.add_permits(1000);
    while let Some(start) = soon(starts.join_next()).await {
        let (id, start) = start.unwrap();
        assert_eq!(start.is_ok(), id != last, "{id}: {:?}", start.err());
    }
}
