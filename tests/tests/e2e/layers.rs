//! Disks of many snapshots: layers that nothing tells apart become one while the machine runs, and no file changes.

use std::{fs, path::Path, time::Duration};

use pyro_e2e::{Home, wait_until};

use super::snapshots::{create, delete_all, reset, sh, snapshot, workspace};

pub(crate) fn layers(disk: &Path) -> usize {
    let names = fs::read_dir(disk).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".qcow2")).count()
}

#[test]
fn a_disk_of_forty_snapshots_has_few_layers_when_they_are_gone_and_the_machine_runs_on() {
    let home = Home::warm();
    let id = create(&home, "w");
    let disk = home.path().join("data/workspaces").join(id).join("disk");
    sh(&home, "w", "echo runs on > /run/memory").succeeds();
    for number in 1..=40 {
        sh(&home, "w", &format!("echo {number} > f; seq {number}000 > g{number}; rm -f g$(({number} - 2))"))
            .succeeds();
        snapshot(&home, &format!("s{number}"));
    }
    workspace(&home, ["fork", "w", "--snapshot", "s3", "--name-prefix", "twin"]).output().succeeds();
    assert!(layers(&disk) > 30, "{}", layers(&disk));
    let kept = [7, 21, 40];
    for number in (1..=40).filter(|number| !kept.contains(number)) {
        workspace(&home, ["snapshot", "delete", "w", &format!("s{number}")]).output().succeeds();
    }
    // Those of the twin stay, and none is copied for a smaller one.
    wait_until("the layers are few", &disk, Duration::from_secs(60), || layers(&disk) <= 20);
    sh(&home, "w", "cat /run/memory f").succeeds().prints("runs on\n40\n");

    let holds = |name: &str, number: u32| {
        let script = format!("cat f; ls g* | sort; cat g{number} | tail -n 1; cat /run/memory");
        let said = sh(&home, name, &script).succeeds().text();
        let mut before = [format!("g{number}"), format!("g{}", number - 1)];
        before.sort();
        let [one, two] = before;
        assert_eq!(said, format!("{number}\n{one}\n{two}\n{number}000\nruns on\n"));
    };
    holds("w", 40);
    for number in kept {
        reset(&home, &format!("s{number}"));
        holds("w", number);
    }
    holds("twin-1", 3);
    workspace(&home, ["stop", "w"]).output().succeeds();
    let read = workspace(&home, ["disk", "read", "w", "f", "--json"]).output().succeeds().json();
    assert_eq!(read["content"], "40\n");
    delete_all(&home);
}
