//! Creation: whole or not at all, whatever fails and whenever nobody waits for it any more.

use std::{fs, sync::Arc};

use super::*;
use crate::{files::SeedSource, run::StartKind};

fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    super::in_namespace(module_path!(), name, body);
}

fn directory(path: PathBuf) -> Option<SeedSource> {
    Some(SeedSource::Directory { path, exclude: Vec::new(), tracked_by_git: false })
}

#[test]
fn a_workspace_is_made_used_and_deleted() {
    in_namespace("a_workspace_is_made_used_and_deleted", || async {
        let home = Home::new();
        let host = home.host().await;
        let seed = directory(home.seed(&[("a", b"from the host")]));
        let (io, mut heard) = listening();
        let made = host.workspaces().create(CreateRequest { seed, ..request() }, io).await.unwrap();
        let id = made.record.id.clone();
        let mut events = Vec::new();
        while let Some(event) = heard.recv().await {
            events.push(event);
        }
        let is_pulling = |event: &CreateEvent| matches!(event, CreateEvent::Pulling { .. });
        assert!(is_pulling(&events[0]), "{events:?}");
        let mut rest = events.into_iter().skip_while(is_pulling);
        assert_eq!(rest.next(), Some(CreateEvent::Starting(id.clone())));
        assert!(rest.all(|event| matches!(event, CreateEvent::Seeding(_))));
        assert_eq!((made.record.seed.entry_count, made.record.seed.content_bytes), (1, 13));
        let machine = made.machine.unwrap();
        assert_eq!((machine.start, machine.stall), (Some(StartKind::Restored), None));
        assert_eq!(read(&host, &id, "a").await.unwrap(), "from the host");
        host.workspaces().delete(id.as_str(), false).await.unwrap();
        let gone = host.workspaces().view(id.as_str()).await;
        assert!(matches!(gone, Err(Error::UnknownWorkspace { .. })), "{gone:?}");
        home.assert_nothing_is_left(&host).await;
    });
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    in_namespace("a_creation_that_fails_leaves_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        let archive = home.directory.path().join("archive");
        fs::write(&archive, [b'x'; 1024]).unwrap();
        let bad_archive = Some(SeedSource::Archive { path: archive });
        let absent = directory(home.directory.path().join("absent"));
        // After the machine has started: a fake one has no disk that could grow.
        let large = create(&host, CreateRequest { disk_mib: 5000, ..request() }).await;
        assert!(matches!(large, Err(Error::Unable { .. })), "{large:?}");
        home.assert_nothing_is_left(&host).await;
        // After the guest has got a part of the seed.
        let refused = create(&host, CreateRequest { seed: bad_archive, ..request() }).await;
        assert!(matches!(refused, Err(Error::Files(_))), "{refused:?}");
        home.assert_nothing_is_left(&host).await;
        // Before anything is made.
        let refused = create(&host, CreateRequest { seed: absent, ..request() }).await;
        assert!(matches!(refused, Err(Error::Files(_))), "{refused:?}");
        let refused = create(&host, CreateRequest { name: Some(" ".to_owned()), ..request() }).await;
        assert!(matches!(refused, Err(Error::Invalid { field: "name", .. })), "{refused:?}");
        home.assert_nothing_is_left(&host).await;
        let is_in_store = home.layout().store().exists();
        home.close(host).await;
        assert!(is_in_store && home.store().await.load_workspaces().await.unwrap().is_empty());
    });
}

/// How a caller goes away.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Cancels,
    StopsListening,
    IsDropped,
}

/// Starts a creation, goes away at the event that `at` accepts, and waits until all is as before.
async fn leave_at(
    home: &Home,
    host: &Host,
    request: CreateRequest,
    at: fn(&CreateEvent) -> bool,
    leaving: Leaving,
) {
    let (io, mut heard) = listening();
    let cancel = io.cancel.clone();
    let workspaces = host.workspaces().clone();
    let creation = tokio::spawn(async move { workspaces.create(request, io).await });
    loop {
        let event = heard.recv().await.expect("the creation is over before it could be left");
        if at(&event) {
            break;
        }
    }
    let mut heard = Some(heard);
    match leaving {
        Leaving::Cancels => cancel.cancel(),
        Leaving::StopsListening => heard = None,
        Leaving::IsDropped => creation.abort(),
    }
    match creation.await {
        Ok(outcome) => assert!(matches!(outcome, Err(Error::Cancelled)), "{leaving:?}: {outcome:?}"),
        Err(error) => assert!(error.is_cancelled()),
    }
    drop(heard);
    all_is_as_before(home, host).await;
}

/// Waits until nothing is left: a dropped future's work is undone a moment later.
async fn all_is_as_before(home: &Home, host: &Host) {
    while host.live() > 0
        || !directories(&home.layout().workspaces()).is_empty()
        || !home.machines().is_empty()
    {
        tokio::task::yield_now().await;
    }
    home.assert_nothing_is_left(host).await;
}

const LEAVING: [Leaving; 3] = [Leaving::Cancels, Leaving::StopsListening, Leaving::IsDropped];

#[test]
fn a_creation_that_is_left_while_it_pulls_leaves_nothing() {
    in_namespace("a_creation_that_is_left_while_it_pulls_leaves_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        let never = home.fifo("never");
        home.house.builder_does(&format!("cat '{}'", never.display()));
        for leaving in LEAVING {
            let is_pulling = |event: &CreateEvent| matches!(event, CreateEvent::Pulling { .. });
            leave_at(&home, &host, request(), is_pulling, leaving).await;
        }
        // Whoever comes next is not hindered.
        home.house.builder_does("cat \"$house/rootfs.tar\"");
        created(&host, request()).await;
    });
}

#[test]
fn a_creation_that_is_left_while_it_waits_for_its_turn_leaves_nothing() {
    in_namespace("a_creation_that_is_left_while_it_waits_for_its_turn_leaves_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        let first = created(&host, request()).await;
        host.workspaces().delete(first.as_str(), false).await.unwrap();
        let starts = Arc::clone(&host.workspaces().shared.resources.starts);
        let all = u32::try_from(starts.available_permits()).unwrap();
        let turns = starts.acquire_many_owned(all).await.unwrap();
        for leaving in LEAVING {
            let (io, heard) = listening();
            let cancel = io.cancel.clone();
            let workspaces = host.workspaces().clone();
            let mut creation = Box::pin(async move { workspaces.create(request(), io).await });
            // Its environment and template are there: it comes as far as its turn without waiting for an event.
            let waits = tokio::time::timeout(Duration::from_millis(200), &mut creation).await;
            assert!(waits.is_err(), "{waits:?}");
            match leaving {
                Leaving::Cancels => cancel.cancel(),
                Leaving::StopsListening => drop(heard),
                Leaving::IsDropped => {
                    drop(creation);
                    continue;
                }
            }
            let outcome = creation.await;
            assert!(matches!(outcome, Err(Error::Cancelled)), "{leaving:?}: {outcome:?}");
        }
        // Whoever has gone is not given a turn: not even for a moment is there anything of it.
        drop(turns);
        for _ in 0..100 {
            home.assert_nothing_is_left(&host).await;
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_creation_that_is_left_while_its_machine_starts_leaves_nothing() {
    in_namespace("a_creation_that_is_left_while_its_machine_starts_leaves_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        for leaving in LEAVING {
            let is_starting = |event: &CreateEvent| matches!(event, CreateEvent::Starting(_));
            leave_at(&home, &host, request(), is_starting, leaving).await;
        }
    });
}

#[test]
fn a_creation_that_is_left_while_it_seeds_leaves_nothing() {
    in_namespace("a_creation_that_is_left_while_it_seeds_leaves_nothing", || async {
        let home = Home::new();
        let host = home.host().await;
        // Too much for the pipes on the way to hold.
        let seed = directory(home.seed(&[("large", &vec![7; 64 << 20])]));
        for leaving in LEAVING {
            let is_seeding = |event: &CreateEvent| matches!(event, CreateEvent::Seeding(_));
            let request = CreateRequest { seed: seed.clone(), ..request() };
            leave_at(&home, &host, request, is_seeding, leaving).await;
        }
    });
}

#[test]
fn a_seed_that_changes_while_it_is_read_is_noted() {
    in_namespace("a_seed_that_changes_while_it_is_read_is_noted", || async {
        let home = Home::new();
        let host = home.host().await;
        let seed = home.seed(&[("calm", b"calm"), ("restless", &vec![7; 64 << 20])]);
        let (io, mut heard) = listening();
        let workspaces = host.workspaces().clone();
        let request = CreateRequest { seed: directory(seed.clone()), ..request() };
        let creation = tokio::spawn(async move { workspaces.create(request, io).await });
        while !matches!(heard.recv().await.unwrap(), CreateEvent::Seeding(_)) {}
        fs::write(seed.join("restless"), "shorter").unwrap();
        let made = creation.await.unwrap().unwrap();
        assert_eq!(made.record.seed.notes, ["`restless` changed while it was read"]);
        assert_eq!(made.record.seed.entry_count, 2);
        // It is in the record that lasts.
        let id = made.record.id;
        home.close(host).await;
        let host = home.host().await;
        assert_eq!(view(&host, &id).await.record.seed.notes.len(), 1);
        assert_eq!(read(&host, &id, "calm").await.unwrap(), "calm");
    });
}

#[test]
fn what_does_not_fit_is_refused_before_and_after_the_wait() {
    in_namespace("what_does_not_fit_is_refused_before_and_after_the_wait", || async {
        let home = Home::new();
        let host = home.host().await;
        // All at once: each is decided with the others in view.
        let mem_mib = 32 << 10;
        let creations: Vec<_> = (0..LIMITS.memory_budget_mib / u64::from(mem_mib) + 8)
            .map(|_| {
                let workspaces = host.workspaces().clone();
                let (io, heard) = listening();
                let request = CreateRequest { mem_mib, ..request() };
                tokio::spawn(async move { (workspaces.create(request, io).await, heard) })
            })
            .collect();
        let mut refused = 0;
        for creation in creations {
            match creation.await.unwrap().0 {
                Ok(_) => {}
                Err(Error::LimitReached { limit: "memory_budget_mib", .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(refused, 8);
        // A stopped one gives its memory back, and gets it again only if nobody else has it.
        let all = host.workspaces().list(&WorkspaceFilter::default()).await.unwrap();
        let (one, other) = (all[0].record.id.clone(), all[1].record.id.clone());
        host.workspaces().stop(one.as_str()).await.unwrap();
        let another = created(&host, CreateRequest { mem_mib, ..request() }).await;
        let refused = host.workspaces().start(one.as_str()).await;
        assert!(matches!(refused, Err(Error::LimitReached { .. })), "{refused:?}");
        host.workspaces().delete(other.as_str(), false).await.unwrap();
        host.workspaces().start(one.as_str()).await.unwrap();
        assert!(view(&host, &another).await.machine.is_some());
    });
}
