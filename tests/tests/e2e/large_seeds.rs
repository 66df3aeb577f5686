//! Large seeds, and bombs: what cannot fit is refused before it is written, and the daemon's memory does not grow with what
//! passes through it.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Process};

/// Most memory that the daemon may need more for a transfer, whatever is transferred.
const GROWTH_BOUND_MIB: u64 = 24;
/// Entries of a large seed, and the length of one of its files.
const ENTRIES: usize = 2_000;
const LARGE_BYTES: u64 = 96 << 20;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn create(home: &Home, seed: &Path) -> Invocation {
    workspace(home, ["create", ENVIRONMENT, "--name", "w", "--json"]).flag("--seed-path").flag(seed)
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

/// A daemon that has done once what is measured, and what that took.
fn measured(home: &Home) -> (Process, u64) {
    let small = home.scratch().join("small");
    fs::create_dir(&small).unwrap();
    fs::write(small.join("file"), "x").unwrap();
    create(home, &small).output().succeeds();
    delete(home);
    let daemon = home.daemon().unwrap();
    let peak_mib = daemon.peak_resident_mib().unwrap();
    (daemon, peak_mib)
}

#[track_caller]
fn assert_flat(daemon: &Process, before_mib: u64) {
    let after_mib = daemon.peak_resident_mib().unwrap();
    assert!(after_mib < before_mib + GROWTH_BOUND_MIB, "daemon: {before_mib} MiB, then {after_mib} MiB");
}

#[test]
fn a_bomb_makes_no_workspace_and_costs_no_memory() {
    let home = Home::warm();
    let (daemon, before_mib) = measured(&home);
    // Ten gigabytes of zeros, of which the host's disk has none.
    let holes = home.scratch().join("holes");
    fs::create_dir(&holes).unwrap();
    File::create(holes.join("zeros")).unwrap().set_len(10_000_000_000).unwrap();
    // The same in ten megabytes: a stream of streams.
    let script = "head -c 100000000 /dev/zero | gzip -1 -n > zeros.gz; \
                  tar -C holes -c zeros | head -c 1536 | gzip -n > bomb.tar.gz; \
                  for part in $(seq 100); do cat zeros.gz; done >> bomb.tar.gz";
    assert!(Command::new("sh").args(["-c", script]).current_dir(home.scratch()).status().unwrap().success());
    let bomb = home.scratch().join("bomb.tar.gz");
    assert!(fs::metadata(&bomb).unwrap().len() < 64 << 20);
    for seed in [&holes, &bomb] {
        create(&home, seed).output().within_s(60).fails_with("guest_disk_full");
        home.wait_until_nothing_is_left();
    }
    let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
    assert_eq!(list["count"], 0, "{list}");
    assert_flat(&daemon, before_mib);
}

#[test]
fn a_large_seed_and_a_push_of_it_cost_no_memory() {
    let home = Home::warm();
    let (daemon, before_mib) = measured(&home);
    let seed = home.scratch().join("large");
    for number in 0..ENTRIES {
        let directory = seed.join(format!("directory-with-a-long-name-{:03}", number % 50));
        if number < 50 {
            fs::create_dir_all(&directory).unwrap();
        }
        File::create(directory.join(format!("file-with-a-name-that-is-long-{number:06}"))).unwrap();
    }
    File::create(seed.join("zeros")).unwrap().set_len(LARGE_BYTES).unwrap();
    let created = create(&home, &seed).patience_s(300).output().succeeds().json();
    assert_eq!(created["workspace_seed"]["bytes_written"], LARGE_BYTES, "{created}");
    workspace(&home, ["sync", "push", "w"]).flag(&seed).output().succeeds();
    assert_flat(&daemon, before_mib);
    delete(&home);
}
