//! A host that hides the memory of machines from the daemon: their VMMs write all of it out, and all else is as ever.

use pyro_e2e::{Home, Running, mount_wrapper};
use rustix::process::{getegid, geteuid};

use super::{
    snapshots::{count, create, delete_all, go_back, names, said, sh, snapshot, start_counter, workspace},
    workspace_faults::state,
};

/// A daemon that the machines there are do not descend from, in a user namespace beside theirs: it may not look into them.
fn without_sight(home: &Home) -> Running {
    let user = [format!("--map-user={}", geteuid().as_raw()), format!("--map-group={}", getegid().as_raw())];
    serve(home, ["unshare".to_owned(), "--user".to_owned()].into_iter().chain(user).chain(["--".to_owned()]))
}

/// A new daemon in the place of the one there is.
fn serve(home: &Home, wrapper: impl IntoIterator<Item = String>) -> Running {
    home.kill_daemon();
    let mut daemon = home.pyro(["daemon", "serve"]).under(wrapper).start();
    assert_eq!(daemon.line(), "ready");
    daemon
}

const CONTENT: &str = "sha256sum < /dev/shm/r; cat /dev/shm/when f";

#[test]
fn a_machine_that_nobody_may_look_into_is_saved_whole_and_gone_back_to() {
    let home = Home::warm();
    create(&home, "w");
    start_counter(&home);
    assert_eq!(count(&home, "w"), "1");
    sh(&home, "w", "head -c 8M /dev/urandom > /dev/shm/r; echo then | tee f > /dev/shm/when").succeeds();
    let then = said(&home, "w", CONTENT);

    let daemon = without_sight(&home);
    let taken = snapshot(&home, "whole");
    assert_eq!(taken["parent"], "baseline");
    // It runs on, and has a snapshot of what it is now.
    assert_eq!(count(&home, "w"), "2");
    sh(&home, "w", "rm /dev/shm/r; echo now | tee f > /dev/shm/when").succeeds();
    snapshot(&home, "again");
    workspace(&home, ["sleep", "w"]).output().succeeds();
    assert_eq!(state(&home), "sleeping");
    home.stop_daemon();
    daemon.finish().succeeds();
    assert_eq!(home.log().matches("all of it is saved").count(), 3);

    assert_eq!(names(&home), ["baseline", "again", "whole"]);
    assert_eq!(count(&home, "w"), "3");
    assert_eq!(said(&home, "w", "cat /dev/shm/when f"), "now\nnow");
    go_back(&home, "w", "whole");
    assert_eq!(said(&home, "w", CONTENT), then);
    assert_eq!(count(&home, "w"), "2");
    workspace(&home, ["fork", "w", "--snapshot", "whole", "--name-prefix", "t"]).output().succeeds();
    assert_eq!(said(&home, "t-1", CONTENT), then);
    go_back(&home, "w", "again");
    assert_eq!(said(&home, "w", "ls /dev/shm; cat f"), "when\nnow");
    delete_all(&home);
}

#[test]
fn a_machine_whose_memory_finds_no_room_runs_on() {
    let home = Home::warm();
    home.tolerate_errors_in_the_log();
    let id = create(&home, "w");
    start_counter(&home);
    assert_eq!(count(&home, "w"), "1");
    let place = home.path().join("data/workspaces").join(id).join("memory");
    let small = format!("mount -t tmpfs -o size=1m,mode=0777 tmpfs {}", place.display());
    // In a namespace of its own, so it may not look into the machine either.
    let daemon = serve(&home, mount_wrapper(&small, "exec \"$@\""));
    for _ in 0..3 {
        let refused = workspace(&home, ["snapshot", "create", "w", "s", "--json"]).output();
        assert_ne!(refused.code(), 0, "{refused}");
        assert!(refused.text().contains("No space left"), "{refused}");
    }
    assert_eq!(count(&home, "w"), "2");
    home.kill_daemon();
    daemon.finish().exits(128 + 9);
    assert_eq!(home.log().matches("all of it is saved").count(), 3);
    snapshot(&home, "s");
    assert_eq!(count(&home, "w"), "3");
    go_back(&home, "w", "s");
    assert_eq!(count(&home, "w"), "3");
    delete_all(&home);
}
