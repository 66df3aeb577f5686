//! What a VMM may do, looked at from outside while a real machine runs. An escaped guest would be this process.

use std::{fs, os::unix::fs::MetadataExt, process::Command};

use pyro_e2e::{Home, LiveMachine, Running};

/// A live machine with an idle command.
fn live(home: &Home) -> (Running, LiveMachine) {
    let mut running = home.sh("echo began; read _").stdin_open().start();
    assert_eq!(running.line(), "began");
    let machine = home.machine();
    (running, machine)
}

fn end(mut running: Running) {
    running.write("\n");
    running.finish().succeeds();
}

#[test]
fn a_vmm_has_no_privilege_and_can_gain_none() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    let vmm = &machine.vmm;
    assert_eq!(vmm.status("NoNewPrivs"), "1");
    assert_eq!(vmm.status("Seccomp"), "2");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let allowed = if set == "CapBnd" { None } else { Some("0000000000000000") };
        if let Some(none) = allowed {
            assert_eq!(vmm.status(set), none, "{set}");
        }
    }
    if rustix::process::getuid().is_root() {
        let ids = vmm.status("Uid");
        assert!(!ids.split_whitespace().any(|id| id == "0"), "uid of the VMM: {ids}");
        let groups = vmm.status("Gid");
        assert!(!groups.split_whitespace().any(|id| id == "0"), "gid of the VMM: {groups}");
        assert_eq!(vmm.status("Groups"), "");
    }
    end(running);
}

#[test]
fn two_machines_of_root_run_as_two_users() {
    if !rustix::process::getuid().is_root() {
        // As an ordinary user each VMM has a user namespace instead; the test below looks at that.
        return each_vmm_has_namespaces_of_its_own();
    }
    let home = Home::warm();
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut run = home.sh("echo began; read _").stdin_open().start();
        assert_eq!(run.line(), "began");
        running.push(run);
    }
    let users: Vec<String> = home.machines().iter().map(|machine| machine.vmm.status("Uid")).collect();
    assert!(users.len() == 2 && users[0] != users[1], "{users:?}");
    running.into_iter().for_each(end);
}

#[test]
fn each_vmm_has_namespaces_of_its_own() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    let namespace = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    let vmm = machine.vmm.pid().to_string();
    let mut kinds = vec!["net", "pid", "mnt", "ipc", "uts"];
    if !rustix::process::getuid().is_root() {
        kinds.push("user");
    }
    for kind in kinds {
        assert_ne!(namespace(&vmm, kind), namespace("self", kind), "{kind} namespace");
    }
    let devices = fs::read_to_string(machine.vmm.proc("net/dev")).unwrap();
    let names: Vec<&str> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert!(names.iter().all(|name| *name == "lo"), "network devices of the VMM: {names:?}");
    end(running);
}

#[test]
fn a_vmm_sees_no_file_of_the_host() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    let home_of_test = home.scratch().to_str().unwrap().trim_start_matches('/');
    for path in ["etc/passwd", "home", "root", "var", "bin/sh", "usr/bin/sh", "proc/1", "sys", home_of_test] {
        let seen = machine.vmm.proc("root").join(path);
        assert!(fs::symlink_metadata(&seen).is_err(), "the VMM sees /{path}");
    }
    end(running);
}

#[test]
fn a_vmm_holds_no_descriptor_but_its_own_files() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    for entry in fs::read_dir(machine.vmm.proc("fd")).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        let target = target.to_string_lossy();
        let own = target.starts_with(machine.directory.to_str().unwrap())
            || target.starts_with(home.environments().to_str().unwrap())
            || target.starts_with(home.templates().to_str().unwrap())
            || target.contains(&machine.id)
            || ["/memfd:", "socket:[", "pipe:[", "anon_inode:", "/dev/null", "/null", "/dev/kvm"]
                .iter()
                .any(|kind| target.starts_with(kind));
        assert!(own, "the VMM holds {target}");
    }
    end(running);
}

#[test]
fn a_vmm_has_bounds_on_memory_files_processes_and_core_dumps() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    let limits = fs::read_to_string(machine.vmm.proc("limits")).unwrap();
    let soft = |name: &str| {
        let line = limits
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {limits}"));
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    let memory: u64 = soft("Max address space").parse().expect("a bound on memory");
    assert!(memory < 8 << 30, "{memory}");
    let file: u64 = soft("Max file size").parse().expect("a bound on the size of files");
    // The largest disk of a workspace and what its format adds.
    assert!(file <= 260 << 30, "{file}");
    let files: u64 = soft("Max open files").parse().expect("a bound on descriptors");
    assert!(files <= 4096, "{files}");
    assert_eq!(soft("Max core file size"), "0");
    end(running);
}

#[test]
fn no_vmm_can_change_what_others_start_from() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    let mut memories = 0;
    for entry in fs::read_dir(machine.vmm.proc("fd")).unwrap() {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).unwrap();
        // Its own words it may write, a few KiB in a memfd of its own.
        if !target.to_string_lossy().starts_with("/memfd:pyro-memory") {
            continue;
        }
        memories += 1;
        // From the VMM's own user: the strongest position that an escaped guest has.
        let mut probe = Command::new("setpriv");
        if rustix::process::getuid().is_root() {
            let user = machine.vmm.status("Uid").split_whitespace().next().unwrap().to_owned();
            probe.args(["--reuid", &user, "--clear-groups"]);
        }
        let script = format!("printf changed 1<>{}", path.display());
        let written = probe.args(["--", "sh", "-c", &script]).output().unwrap();
        assert!(!written.status.success(), "{} can be written", target.display());
    }
    assert!(memories > 0, "no template memory among the descriptors of the VMM");
    for file in ["memory", "state", "disk.raw"] {
        let path = home.installed_templates().remove(0).join(file);
        let about = fs::metadata(&path).unwrap();
        assert_eq!(about.mode() & 0o022, 0, "{} is writable by others", path.display());
    }
    end(running);
}

#[test]
fn what_a_home_keeps_is_closed_to_other_users() {
    let home = Home::warm();
    let (running, machine) = live(&home);
    for directory in [home.path().join("data"), home.runtime_directory(), machine.directory.clone()] {
        let mode = fs::metadata(&directory).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "`{}` has mode {mode:o}", directory.display());
    }
    let socket = home.runtime_directory().join("daemon.sock");
    let mode = fs::metadata(&socket).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600, "mode {mode:o} of the socket");
    end(running);
}
