//! Snapshots of guests at their limits: everything writes, everybody talks, there are too many processes, the disk is full. What goes
//! on from one has all of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Signal};
use serde_json::Value;

use super::snapshots::{delete_all, go_back, said, snapshot, workspace};

/// Makes a workspace `w`.
fn create(home: &Home, environment: &str, memory_mib: &str) {
    let create = workspace(home, ["create", environment, "--name", "w", "--mem-mib", memory_mib]);
    // Some environments are built first.
    create.patience_s(1800).output().succeeds();
}

/// Starts a command in `w` that nothing ends.
fn start<const N: usize>(home: &Home, command: [&str; N]) {
    let exec = workspace(home, ["exec", "w", "--detach"]).timeout_s(0);
    exec.command(command).output().succeeds();
}

/// Asserts that so many commands run in a workspace.
#[track_caller]
fn run_on(home: &Home, name: &str, count: usize) {
    let jobs = workspace(home, ["job", "list", name, "--json"]).output().succeeds().json();
    let runs = |job: &&Value| job["state"] == "running";
    assert_eq!(jobs["jobs"].as_array().unwrap().iter().filter(runs).count(), count, "{name}: {jobs}");
}

/// `w` as it is now, beside it.
fn fork(home: &Home, words: &[&str]) {
    let fork = home.pyro(["workspace", "fork", "w", "--name-prefix", "twin", "--json"].iter().chain(words));
    let forked = fork.output().succeeds().json();
    assert_eq!(forked["resumed"], "memory", "{forked}");
}

/// The disk of a workspace without a machine, as a file.
fn exported(home: &Home, name: &str) -> PathBuf {
    let image = home.scratch().join(format!("{name}.ext4"));
    drop(fs::remove_file(&image));
    workspace(home, ["disk", "export", name, "--output"]).flag(&image).output().succeeds();
    image
}

/// Asserts that the file system's own program finds nothing to mend.
#[track_caller]
fn assert_clean(image: &Path) {
    let check = Command::new("e2fsck").arg("-fn").arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&check.stdout);
    // A complaint that is not mended leaves the status at 4.
    assert!(check.status.success(), "{}: {text}", check.status);
}

/// Does with the journal and with deleted files that were open what the next mount does.
fn recover(image: &Path) {
    let recovered = Command::new("e2fsck").arg("-p").arg(image).output().unwrap();
    let text = String::from_utf8_lossy(&recovered.stdout);
    assert!(text.contains("recovering journal") && recovered.status.code() <= Some(1), "{text}");
}

/// Commits row after row to a database, and tells outside of the disk which of them are there for good.
const DATABASE: &str = r#"
import os, sqlite3, sys
mode, = sys.argv[1:]
database = sqlite3.connect(f"/workspace/{mode}.db", isolation_level=None, timeout=600)
database.execute(f"pragma journal_mode = {mode}")
database.execute("create table rows (number integer primary key, text text)")
told = os.open(f"/run/{mode}", os.O_WRONLY | os.O_CREAT)
number = 0
while True:
    number += 1
    database.execute("insert into rows values (?, ?)", (number, f"{number} " * 200))
    os.pwrite(told, b"%09d" % number, 0)
"#;

/// Asserts that both databases are whole and have all rows to the last that was told, or to these.
const DATABASES_ARE_WHOLE: &str = r#"
import sqlite3, sys
for place, mode in enumerate(["delete", "wal"]):
    told = int(sys.argv[1 + place] if sys.argv[1:] else open(f"/run/{mode}").read())
    database = sqlite3.connect(f"/workspace/{mode}.db", timeout=600)
    found = database.execute("pragma integrity_check").fetchall()
    count, last = database.execute("select count(*), max(number) from rows").fetchone()
    assert found == [("ok",)], (mode, found)
    assert count == last >= told, (mode, count, last, told)
"#;

/// Waits until both databases have grown.
const DATABASES_GROW: &str = "cd /run; delete=$(cat delete); wal=$(cat wal)
     until test \"$(cat delete)\" != $delete && test \"$(cat wal)\" != $wal; do sleep 0.1; done; cat delete; echo; cat wal";

#[test]
fn a_file_system_is_clean_and_databases_have_every_row_whatever_writes() {
    let home = Home::warm();
    create(&home, "debian:12-build", "1024");
    for mode in ["delete", "wal"] {
        start(&home, ["python3", "-c", DATABASE, mode]);
    }
    start(&home, ["sh", "-c", "while :; do head -c 4000000 /dev/urandom > noise; md5sum noise > sum; done"]);
    let directories = "while :; do mkdir one; for name in a b c d e f g h; do echo $name > one/$name; ln one/$name one/$name$name; done
         mv one two; truncate -s 10M two/a; rm -r two; done";
    start(&home, ["sh", "-c", directories]);
    said(&home, "w", "until test -s /run/delete && test -s /run/wal && test -s sum; do sleep 0.1; done");
    let python = |name: &str, words: &[&str]| {
        let exec = workspace(&home, ["exec", name, "-n", "-q"]).timeout_s(60);
        exec.command(["python3", "-c", DATABASES_ARE_WHOLE].iter().chain(words)).output().succeeds();
    };
    let mut told = String::new();
    for name in ["a", "b"] {
        told = said(&home, "w", DATABASES_GROW);
        snapshot(&home, name);
    }

    for name in ["b", "a"] {
        go_back(&home, "w", name);
        run_on(&home, "w", 4);
        python("w", &[]);
        said(&home, "w", DATABASES_GROW);
    }
    workspace(&home, ["stop", "w"]).output().succeeds();
    assert_clean(&exported(&home, "w"));

    // The same without the memory: a machine that is killed at once has what was on the disk.
    fork(&home, &["--snapshot", "b"]);
    let machine = home.machine();
    machine.vmm.signal(Signal::KILL);
    machine.assert_gone();
    let image = exported(&home, "twin-1");
    recover(&image);
    assert_clean(&image);
    workspace(&home, ["start", "twin-1"]).output().succeeds();
    python("twin-1", &told.lines().collect::<Vec<_>>());
    workspace(&home, ["stop", "twin-1"]).output().succeeds();
    assert_clean(&exported(&home, "twin-1"));
    delete_all(&home);
}

/// Two who count to each other, and two of whom one has written more than the other has read. Each ends with an error if it hears
/// something else than it should, or nothing more.
const CONVERSATION: &str = r#"
use strict; use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 7000, Listen => 5) or die "listen: $!";
sub hear { my $line = readline $_[0]; die "nothing more: $!" unless defined $line; chomp $line; $line }
sub pair {
    my $near = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 7000) or die "connect: $!";
    my $far = $server->accept or die "accept: $!";
    $_->autoflush(1) for $near, $far;
    ($near, $far);
}
my ($asks, $answers) = pair();
my ($writes, $reads) = pair();
if (!fork) {
    for (my $number = 0;; $number += 2) {
        die "a gap" unless hear($answers) == $number;
        print $answers $number + 1, "\n";
    }
}
if (!fork) { print $writes "$_\n" for 1 .. 50_000; print $writes "end\n"; sleep; }
if (!fork) {
    sleep 1 until -e "/run/read";
    for (1 .. 50_000) { die "a gap" unless hear($reads) == $_ }
    open my $read, ">", "/run/read"; print $read hear($reads), "\n"; close $read;
    sleep;
}
for (my $number = 0;; $number += 2) {
    print $asks "$number\n";
    die "a gap" unless hear($asks) == $number + 1;
    open my $told, ">", "/run/told"; print $told "$number\n"; close $told;
    rename "/run/told", "/run/number";
    # The processor is for the others too.
    select undef, undef, undef, 0.005;
}
"#;

/// Waits until the two have counted on, by more than a few lines in buffers, and tells how far.
const COUNTED_ON: &str = "n=$(cat /run/number); until test $(cat /run/number) -gt $((n + 40)); do sleep 0.1; done; cat /run/number";

#[test]
fn connections_in_the_guest_go_on_without_a_gap() {
    let home = Home::warm();
    create(&home, ENVIRONMENT, "1024");
    start(&home, ["perl", "-e", CONVERSATION]);
    said(&home, "w", "until test -s /run/number; do sleep 0.1; done");
    let number = |text: String| text.parse::<u64>().unwrap();
    let before = number(said(&home, "w", COUNTED_ON));
    snapshot(&home, "talking");
    let after = number(said(&home, "w", COUNTED_ON));

    // They are where they were, and not where they have come since.
    go_back(&home, "w", "talking");
    let again = number(said(&home, "w", "cat /run/number"));
    assert!(before <= again, "{before}, {after}, {again}");
    fork(&home, &["--snapshot", "talking"]);
    workspace(&home, ["sleep", "w"]).output().succeeds();
    for name in ["w", "twin-1"] {
        said(&home, name, COUNTED_ON);
        // What was on its way when the machine stood still arrives whole.
        assert_eq!(
            said(&home, name, "touch /run/read; until test -s /run/read; do sleep 0.1; done; cat /run/read"),
            "end"
        );
        said(&home, name, COUNTED_ON);
        run_on(&home, name, 1);
    }
    delete_all(&home);
}

/// Processes of one command, which may have 4,096.
const FAMILY: &str = "i=0; while test $i -lt 10; do i=$((i + 1))
     sh -c 'j=0; while test $j -lt 333; do j=$((j + 1)); read word < /run/end & done; wait' & done; wait";
const HOW_MANY: &str = "set -- /proc/[0-9]*; echo $#";

/// Nearly all of its time is spent on starting them: 6 ms each under emulation, a minute in all on a quiet host.
#[test]
fn ten_thousand_processes_are_all_there() {
    let home = Home::warm();
    // They take 1.5 GiB.
    create(&home, ENVIRONMENT, "2048");
    said(&home, "w", "mkfifo /run/end");
    for _ in 0..3 {
        start(&home, ["sh", "-c", FAMILY]);
    }
    let patiently = |script: &str| {
        let exec = workspace(&home, ["exec", "w", "-n", "-q"]).timeout_s(600).patience_s(620);
        exec.command(["sh", "-c", script]).output().succeeds().text()
    };
    patiently(&format!("until test $({HOW_MANY}) -gt 10030; do sleep 1; done"));
    snapshot(&home, "many");
    go_back(&home, "w", "many");
    let number = patiently(HOW_MANY);
    assert!(number.trim().parse::<u32>().unwrap() > 10_030, "{number}");

    // They are not only listed: all of them hear that it is over, or their parents would wait on.
    patiently(": > /run/end");
    for job in ["c2", "c3", "c4"] {
        let wait = workspace(&home, ["job", "wait", "w", job, "--json"]).patience_s(600).output();
        assert_eq!(wait.json()["exit_code"], 0, "{wait}");
    }
    delete_all(&home);
}

/// Fills the disk to the last block, and says what comes of one more.
const FILL: &str = "n=0; for size in 1G 256M 64M 16M 4M 1M 256K 64K 16K 4K; do
     while fallocate -l $size full$n 2> /dev/null; do n=$((n + 1)); done; rm -f full$n; done; ls | wc -l";
const WRITE_MORE: &str = "LC_ALL=C head -c 100000 /dev/zero 2>&1 > more | grep -o 'No space left on device'";

#[test]
fn a_full_disk_is_a_full_disk_afterwards() {
    let home = Home::warm();
    create(&home, ENVIRONMENT, "1024");
    said(&home, "w", "echo kept > kept; mkdir -p deep/er; echo deep > deep/er/file");
    let files = said(&home, "w", FILL);
    assert_eq!(said(&home, "w", WRITE_MORE), "No space left on device");
    snapshot(&home, "full");
    assert_eq!(said(&home, "w", WRITE_MORE), "No space left on device");
    said(&home, "w", "rm full*; echo lost > kept; head -c 30000000 /dev/urandom > more; sync");

    go_back(&home, "w", "full");
    assert_eq!(
        said(&home, "w", "rm -f more; cat kept deep/er/file; ls | wc -l"),
        format!("kept\ndeep\n{files}")
    );
    assert_eq!(said(&home, "w", WRITE_MORE), "No space left on device");
    fork(&home, &[]);
    // Whoever makes room has it.
    said(&home, "w", "rm full0; head -c 30000000 /dev/zero > more; sync");
    assert_eq!(said(&home, "twin-1", WRITE_MORE), "No space left on device");
    assert_eq!(said(&home, "twin-1", "cat kept deep/er/file"), "kept\ndeep");
    for name in ["w", "twin-1"] {
        workspace(&home, ["stop", name]).output().succeeds();
        assert_clean(&exported(&home, name));
        workspace(&home, ["start", name]).output().succeeds();
        assert_eq!(said(&home, name, "cat kept deep/er/file"), "kept\ndeep");
    }
    delete_all(&home);
}
