//! Requests that cannot be done are refused at once, by name, with a hint; never ignored.

use pyro_e2e::{ENVIRONMENT, Home, text_of};

#[test]
fn an_unknown_environment_is_refused_and_the_known_ones_are_named() {
    let home = Home::warm();
    let outcome = home.pyro(["run", "debian:11", "--json"]).command(["true"]).output().exits(1);
    let failure = outcome.fails_with("unknown_environment");
    let words = format!("{} {}", text_of(&failure, "error"), failure["hint"]);
    for known in ["debian:12", "debian:12-base", "debian:12-build"] {
        assert!(words.contains(known), "{known} is not named: {outcome}");
    }
    home.pyro(["run", "debian:11"])
        .command(["true"])
        .output()
        .exits(1)
        .complains("[error] ")
        .complains("debian:12-build");
}

#[test]
fn sizes_out_of_range_are_refused_with_the_range() {
    let home = Home::warm();
    let cases = [
        ("--vcpu-count", "0"),
        ("--vcpu-count", "9"),
        ("--mem-mib", "255"),
        ("--mem-mib", "32769"),
        ("--timeout-seconds", "0"),
        ("--ttl-seconds", "59"),
    ];
    for (flag, value) in cases {
        let outcome = home.run(["true"]).json().flag(flag).flag(value).output().exits(1);
        let failure = outcome.fails_with("invalid_size");
        let name = flag.trim_start_matches('-').replace('-', "_");
        let error = text_of(&failure, "error").replace('-', "_");
        assert!(error.contains(&name) && error.contains(value), "{outcome}");
        assert_eq!(failure["retryable"], false);
    }
    for (flag, value) in [("--vcpu-count", "two"), ("--mem-mib", "1G"), ("--timeout-seconds", "-5")] {
        home.run(["true"]).flag(flag).flag(value).output().exits(2).without_traceback();
    }
}

#[test]
fn a_missing_command_is_a_usage_error_with_an_example() {
    let home = Home::warm();
    home.pyro(["run", ENVIRONMENT]).output().exits(2).complains("--");
    home.pyro(["run", ENVIRONMENT, "--json"]).output().exits(2).fails_with("missing_command");
    home.pyro(["run", ENVIRONMENT, "--json"])
        .command(["   "])
        .output()
        .exits(2)
        .fails_with("missing_command");
}

#[test]
fn a_network_is_refused_as_not_yet_supported() {
    let home = Home::warm();
    let outcome = home.run(["true"]).json().flag("--network").output().exits(1);
    let failure = outcome.fails_with("not_yet_supported");
    assert!(failure["hint"].is_string(), "{outcome}");
}

#[test]
fn names_of_registry_images_are_reserved() {
    let home = Home::warm();
    home.pyro(["run", "oci:alpine", "--json"])
        .command(["true"])
        .output()
        .exits(1)
        .fails_with("not_yet_supported");
    home.pyro(["env", "pull", "oci:alpine", "--json"]).output().exits(1).fails_with("not_yet_supported");
}

#[test]
fn an_unknown_flag_or_command_is_a_usage_error() {
    let home = Home::warm();
    home.run(["true"]).flag("--no-such-flag").output().exits(2).complains("--no-such-flag");
    home.pyro(["no-such-command"]).output().exits(2);
    home.pyro([""; 0]).output().exits(2);
}

#[test]
fn a_refusal_starts_no_machine_and_needs_no_daemon() {
    let home = Home::warm();
    home.run(["true"]).flag("--vcpu-count").flag("99").output().exits(1);
    assert!(home.daemon().is_none(), "a daemon was started for a request that cannot succeed");
}
