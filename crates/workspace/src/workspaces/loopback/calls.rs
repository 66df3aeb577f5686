//! Machines for one command, and calls that ask for the same.

use super::*;
use crate::{
    CommandEnd,
    commands::{CommandState, job_id},
    workspaces::{Call, Called, KeptCommand},
};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

async fn call(host: &Host, key: Option<&str>, asked: &str) -> Result<Called<WorkspaceView>, Error> {
    let call = Some(Call::new(key.map(str::to_owned), asked.as_bytes()));
    let (io, _heard) = listening();
    host.workspaces().one_shots().call(CreateRequest { call, ..request() }, io).await
}

#[track_caller]
fn made(called: Result<Called<WorkspaceView>, Error>) -> WorkspaceId {
    match called {
        Ok(Called::Made(view)) => view.record.id,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn found(called: Result<Called<WorkspaceView>, Error>) -> WorkspaceId {
    match called {
        Ok(Called::Found(view)) => view.record.id,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn gone(called: Result<Called<WorkspaceView>, Error>) -> KeptCommand {
    match called {
        Ok(Called::Gone(kept)) => *kept,
        other => panic!("{other:?}"),
    }
}

async fn delete(host: &Host, id: &WorkspaceId) {
    host.workspaces().one_shots().delete(id.as_str()).await.unwrap();
}

#[test]
fn a_key_whose_machine_is_not_known_makes_no_second_one() {
    in_namespace("a_key_whose_machine_is_not_known_makes_no_second_one", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = made(call(&host, Some("k"), "a").await);
        // As between the end of a machine and the second look at its key, or when its record cannot be read.
        host.workspaces().shared.registry.remove(&id);
        let again = call(&host, Some("k"), "a").await;
        assert!(matches!(again, Err(Error::UnknownWorkspace { .. })), "{again:?}");
        home.close(host).await;
        let host = home.host().await;
        assert_eq!(found(call(&host, Some("k"), "a").await), id);
        delete(&host, &id).await;
        home.close(host).await;
    });
}

#[test]
fn a_key_makes_one_machine_for_ever() {
    in_namespace("a_key_makes_one_machine_for_ever", || async {
        let home = Home::new();
        let host = home.host().await;
        let unused = made(call(&host, Some("k"), "a").await);
        assert_eq!(found(call(&host, Some("k"), "a").await), unused);
        // Nothing ever ran in it, so the key is free again.
        delete(&host, &unused).await;
        let id = made(call(&host, Some("k"), "a").await);
        exec(&host, &id, shell("echo out; echo err >&2; exit 3")).await.unwrap();
        assert_eq!(found(call(&host, Some("k"), "a").await), id, "it ended and is there");
        let other = call(&host, Some("k"), "b").await;
        assert!(matches!(&other, Err(Error::CallTaken { key }) if key == "k"), "{other:?}");
        delete(&host, &id).await;
        home.close(host).await;

        let host = home.host().await;
        let kept = gone(call(&host, Some("k"), "a").await);
        assert_eq!((kept.machine.id, kept.command.job_id()), (id, job_id(1)));
        assert!(matches!(kept.command.state, CommandState::Finished { end: CommandEnd::Exited(3), .. }));
        assert_eq!((kept.stdout.unwrap(), kept.stderr.unwrap()), (b"out\n".to_vec(), b"err\n".to_vec()));
        assert!(matches!(call(&host, Some("k"), "b").await, Err(Error::CallTaken { .. })));
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn calls_with_one_key_at_once_make_one_machine() {
    in_namespace("calls_with_one_key_at_once_make_one_machine", || async {
        let home = Home::new();
        let host = home.host().await;
        let (one, other) = tokio::join!(call(&host, Some("k"), "a"), call(&host, Some("k"), "a"));
        let id = made(one);
        assert_eq!(found(other), id);
        delete(&host, &id).await;
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn without_a_key_a_machine_is_found_while_its_command_has_not_ended() {
    in_namespace("without_a_key_a_machine_is_found_while_its_command_has_not_ended", || async {
        let home = Home::new();
        let host = home.host().await;
        let first = made(call(&host, None, "a").await);
        assert_eq!(found(call(&host, None, "a").await), first, "it has no command yet");
        let other = made(call(&host, None, "b").await);
        exec(&host, &first, detached("exec sleep 600")).await.unwrap();
        assert_eq!(found(call(&host, None, "a").await), first);
        let keyed = made(call(&host, Some("k"), "a").await);
        host.workspaces().kill(first.as_str(), 1, 9).await.unwrap();
        host.workspaces().wait(first.as_str(), 1, None).await.unwrap();
        let second = made(call(&host, None, "a").await);
        for id in [&first, &second, &other, &keyed] {
            delete(&host, id).await;
        }
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_machine_is_left_to_whoever_waits_in_it() {
    in_namespace("a_machine_is_left_to_whoever_waits_in_it", || async {
        let home = Home::new();
        let host = home.host().await;
        let id = made(call(&host, None, "a").await);
        let one_shots = host.workspaces().one_shots();
        let waiting = host.workspaces().shared.registry.hold(&id).unwrap();
        let (_, deleted) = one_shots.delete_unless_used(id.as_str()).await.unwrap();
        assert!(!deleted);
        drop(waiting);
        let (_, deleted) = one_shots.delete_unless_used(id.as_str()).await.unwrap();
        assert!(deleted);
        home.assert_nothing_is_left(&host).await;
    });
}
