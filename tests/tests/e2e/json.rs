//! `--json`: one object, of the contract's shape, whatever happens.

use pyro_e2e::{Home, Outcome, text_of};
use serde_json::Value;

/// Asserts that the text is the contract's: keys sorted, indented by two, ASCII, one newline at the end.
#[track_caller]
fn assert_canonical(outcome: &Outcome) {
    let mut value = outcome.json();
    value.sort_all_objects();
    let mut expected = String::new();
    for c in serde_json::to_string_pretty(&value).unwrap().chars() {
        if c.is_ascii() {
            expected.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| expected.push_str(&format!("\\u{unit:04x}")));
        }
    }
    expected.push('\n');
    assert_eq!(outcome.text(), expected);
}

#[test]
fn a_result_has_every_key_of_the_contract_sorted_and_in_ascii() {
    let home = Home::warm();
    let outcome = home.run(["printf", "gr\u{fc}n"]).json().output().succeeds();
    assert_canonical(&outcome);
    let result = outcome.result();
    let strings = [
        "vm_id",
        "environment",
        "environment_version",
        "command",
        "stdout",
        "stderr",
        "execution_mode",
        "isolation",
        "start",
    ];
    for key in strings {
        assert!(result[key].is_string(), "`{key}` is no string: {outcome}");
    }
    for key in ["exit_code", "duration_ms", "stdout_bytes", "stderr_bytes"] {
        assert!(result[key].is_i64() || result[key].is_u64(), "`{key}` is no number: {outcome}");
    }
    assert_eq!(result["stdout"], "gr\u{fc}n", "{outcome}");
    assert_eq!(result["environment"], "debian:12");
    assert_eq!(result["execution_mode"], "guest_vsock");
    assert_eq!(result["timed_out"], false);
    assert!(result["signal"].is_null());
    let id = text_of(&result, "vm_id");
    assert!(
        id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()),
        "{id}"
    );
    assert_eq!(
        result["cleanup"],
        serde_json::json!({"vm_id": id, "deleted": true, "reason": "post_exec_cleanup"})
    );
    let phases = result["phases_ms"].as_object().expect("phases");
    for phase in ["environment", "template", "claim", "start", "greet", "command", "cleanup"] {
        assert!(phases.get(phase).is_some_and(Value::is_u64), "no phase `{phase}`: {outcome}");
    }
}

#[test]
fn a_result_goes_to_standard_output_alone() {
    let home = Home::warm();
    let outcome = home.sh("echo noise >&2; exit 3").json().output().exits(3);
    assert_eq!(outcome.errors(), "", "phase lines or guest output beside the JSON: {outcome}");
    assert_eq!(outcome.result()["stderr"], "noise\n");
    assert_eq!(outcome.result()["exit_code"], 3);
}

#[test]
fn large_output_is_cut_and_the_cut_is_told() {
    let home = Home::warm();
    let outcome = home.sh("head -c 20000000 /dev/zero | tr '\\0' x").json().timeout_s(60).output().succeeds();
    let result = outcome.result();
    assert_eq!(result["stdout_bytes"], 20_000_000);
    let kept = text_of(&result, "stdout").len();
    assert_eq!(result["stdout_truncated"], kept < 20_000_000, "kept {kept}");
    assert_eq!(result["stderr_truncated"], false);
    assert!(outcome.peak_resident_mib < 200, "{} MiB", outcome.peak_resident_mib);
}

#[test]
fn every_command_answers_a_failure_with_one_json_object() {
    let home = Home::warm();
    home.pyro(["env", "inspect", "no-such", "--json"])
        .output()
        .without_traceback()
        .fails_with("unknown_environment");
    home.pyro(["env", "pull", "no-such", "--json"])
        .output()
        .without_traceback()
        .fails_with("unknown_environment");
    home.pyro(["run", "no-such", "--json"])
        .command(["true"])
        .output()
        .without_traceback()
        .fails_with("unknown_environment");
    for words in [["env", "list"], ["env", "prune"], ["daemon", "status"]] {
        home.pyro(words).json().output().succeeds().result();
    }
}
