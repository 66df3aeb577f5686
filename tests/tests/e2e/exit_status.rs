//! What `pyro run` exits with.

use pyro_e2e::Home;

#[test]
fn the_exit_status_is_the_commands_own() {
    let home = Home::warm();
    for code in [0, 1, 7, 255] {
        home.sh(&format!("exit {code}")).output().exits(code);
    }
}

#[test]
fn a_missing_program_is_127_and_one_that_cannot_be_executed_126() {
    let home = Home::warm();
    home.run(["no-such-program"]).output().exits(127).complains("no-such-program");
    home.run(["/etc/passwd"]).output().exits(126).complains("/etc/passwd");
    let outcome = home.run(["no-such-program"]).json().output().exits(127);
    assert_eq!(outcome.json()["exit_code"].as_i64().unwrap_or(127), 127, "{outcome}");
}

#[test]
fn a_signal_that_ends_the_command_is_128_plus_its_number() {
    let home = Home::warm();
    for (name, number) in [("TERM", 15), ("KILL", 9)] {
        let outcome = home.sh(&format!("kill -{name} $$")).json().output().exits(128 + number);
        assert_eq!(outcome.result()["signal"], number, "{outcome}");
        assert_eq!(outcome.result()["exit_code"], 128 + number, "{outcome}");
    }
}

#[test]
fn a_timeout_is_124_and_keeps_what_was_printed() {
    let home = Home::warm();
    let script = "echo before; echo complaint >&2; sleep 1000 & sleep 1000; echo after";
    let outcome = home.sh(script).json().timeout_s(3).output().exits(124).within_s(40);
    let result = outcome.result();
    assert_eq!(result["timed_out"], true, "{outcome}");
    assert_eq!(result["exit_code"], 124, "{outcome}");
    assert_eq!(result["stdout"], "before\n", "{outcome}");
    assert_eq!(result["stderr"], "complaint\n", "{outcome}");
    home.sh(script).timeout_s(3).output().exits(124).prints("before\n").complains("complaint");
}

#[test]
fn a_run_in_a_directory_or_as_a_user_that_is_not_there_fails_and_says_so() {
    let home = Home::warm();
    let outcome = home.run(["true"]).flag("--cwd").flag("/no/such/place").output();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.complains("/no/such/place");
    let outcome = home.run(["true"]).flag("--user").flag("nosuchuser").output();
    assert_ne!(outcome.code(), 0, "{outcome}");
    outcome.complains("nosuchuser");
}
