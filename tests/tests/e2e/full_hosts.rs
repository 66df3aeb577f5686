//! The file system of the host is full while the memory of a machine is written to it: nothing is lost, and there is no half snapshot.

use std::fs;

use pyro_e2e::{ENVIRONMENT, Home, mount_wrapper, warm};

/// What is done where there is little room, each step with a name, what came of it, and its end.
const STEPS: &str = r#"
step() { echo "== $1"; shift; "$pyro" workspace "$@"; echo "exit $?"; }
look='cat f; md5sum < /dev/shm/noise; cat /dev/shm/later 2> /dev/null; true'
step create create "$environment" --name w --mem-mib 256 --id-only
# Of this nothing is on the disk.
step noise exec w -n -q -- sh -c 'head -c 20000000 /dev/urandom > /dev/shm/noise; echo kept > f; sync'
step before exec w -n -q -- sh -c "$look"
step first snapshot create w first --json
step more exec w -n -q -- sh -c 'head -c 20000000 /dev/urandom > /dev/shm/noise; echo later > /dev/shm/later'
step meanwhile exec w -n -q -- sh -c "$look"
cat /dev/zero > "$home/filler" 2> /dev/null
truncate -s -4M "$home/filler"
step full snapshot create w second --json
step sleep sleep w --json
step fork fork w --count 2 --json
step list list --json
step snapshots snapshot list w --json
step after exec w -n -q -- sh -c "$look"
rm "$home/filler"
step third snapshot create w third --json
step reset-first reset w --snapshot first --json
step at-first exec w -n -q -- sh -c "$look"
step reset-third reset w --snapshot third --json
step at-third exec w -n -q -- sh -c "$look"
step delete delete w --json
"$pyro" daemon stop > /dev/null 2>&1
echo "== left"; ls "$home/data/machines" "$home/data/workspaces"
"#;

#[test]
fn what_cannot_be_written_is_told_and_the_machine_goes_on() {
    let home = Home::bare();
    let directory = home.path().display().to_string();
    fs::create_dir_all(home.path()).unwrap();
    let mount = format!("mount -t tmpfs -o size=512m,mode=0700 small '{directory}'");
    let steps = format!("pyro=$1; home='{directory}'; environment={ENVIRONMENT}\n{STEPS}");
    let environments = warm::warm().environments.as_os_str();
    let run = home.pyro(["--version"]).env("PYRO_ENVIRONMENT_CACHE_DIR", environments);
    let told = run.under(mount_wrapper(&mount, &steps)).output().succeeds().text();
    let step = |name: &str| {
        let after = told.split(&format!("== {name}\n")).nth(1).unwrap_or_else(|| panic!("no {name}: {told}"));
        after.split("== ").next().unwrap().to_owned()
    };
    let has = |name: &str, word: &str| assert!(step(name).contains(word), "{name} has no {word}: {told}");
    for refused in ["full", "sleep", "fork"] {
        has(refused, "\"code\": \"disk_full\"");
    }
    // It is as if nobody had asked.
    has("list", "\"count\": 1");
    has("list", "\"state\": \"started\"");
    has("snapshots", "\"count\": 2");
    assert_eq!(step("after"), step("meanwhile"), "{told}");
    for made in ["third", "reset-first", "reset-third", "delete"] {
        has(made, "exit 0");
    }
    for reset in ["reset-first", "reset-third"] {
        has(reset, "\"resumed\": \"memory\"");
    }
    assert_eq!(step("at-first"), step("before"), "{told}");
    assert_eq!(step("at-third"), step("meanwhile"), "{told}");
    assert_ne!(step("before"), step("meanwhile"), "{told}");
    let left = step("left");
    assert!(left.lines().filter(|line| !line.is_empty()).all(|line| line.ends_with(':')), "{left}");
}
