//! Standard input, output and error: any bytes, in both directions, while the command runs.

use std::{fs::File, io::Read};

use pyro_e2e::Home;

/// Bytes without a pattern, the same ones each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut step).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

#[test]
fn five_mebibytes_of_binary_input_come_back_unchanged() {
    let home = Home::warm();
    let bytes = noise(5 << 20);
    home.run(["cat"]).stdin(bytes.clone()).timeout_s(60).output().succeeds().prints(bytes);
}

#[test]
fn an_input_at_its_end_is_end_of_file_for_the_command() {
    let home = Home::warm();
    home.run(["wc", "-c"]).output().succeeds().prints("0\n");
    home.run(["wc", "-c"]).stdin("four").output().succeeds().prints("4\n");
}

#[test]
fn a_command_that_reads_nothing_does_not_wait_for_an_open_input() {
    let home = Home::warm();
    let running = home.run(["echo", "done"]).stdin_open().start();
    running.finish().succeeds().prints("done\n");
}

#[test]
fn a_command_that_reads_a_part_of_a_large_input_ends_well() {
    let home = Home::warm();
    home.run(["head", "-c", "3"]).stdin(noise(4 << 20)).output().succeeds().prints(noise(3));
}

#[test]
fn output_streams_while_the_command_runs_and_input_answers_it() {
    let home = Home::warm();
    let mut running =
        home.sh("echo question; read answer; echo \"you said $answer\"; cat").stdin_open().start();
    assert_eq!(running.line(), "question");
    running.write("yes\n");
    assert_eq!(running.line(), "you said yes");
    running.write("more\n");
    assert_eq!(running.line(), "more");
    running.close_stdin();
    running.finish().succeeds();
}

#[test]
fn standard_output_and_standard_error_stay_apart() {
    let home = Home::warm();
    let outcome = home.sh("echo to-out; echo to-err >&2; echo to-out-again").output().succeeds();
    let outcome = outcome.prints("to-out\nto-out-again\n");
    assert!(outcome.errors().lines().any(|line| line == "to-err"), "{outcome}");
    let result = home.sh("echo to-out; echo to-err >&2").json().output().succeeds().result();
    assert_eq!((&result["stdout"], &result["stderr"]), (&"to-out\n".into(), &"to-err\n".into()));
}

#[test]
fn output_of_every_byte_value_is_exact() {
    let home = Home::warm();
    let all: Vec<u8> = (0..=255).cycle().take(256 * 300).collect();
    let script = "binmode STDOUT; print join('', map chr, 0..255) x 300";
    home.run(["perl", "-e", script]).output().succeeds().prints(all);
}

#[test]
fn a_byte_that_is_no_utf8_is_printed_once_by_one_execution() {
    let home = Home::warm();
    let outcome = home.run(["printf", "\\377x"]).output().succeeds().prints(b"\xffx").within_s(30);
    drop(outcome);
    let outcome = home.run(["printf", "\\377x"]).json().output().succeeds();
    let result = outcome.result();
    assert_eq!(result["stdout"], "\u{fffd}x", "{outcome}");
    assert_eq!(result["stdout_base64"], "/3g=", "{outcome}");
    assert_eq!(result["stdout_bytes"], 2, "{outcome}");
    assert!(outcome.stdout.is_ascii(), "{outcome}");
}

#[test]
fn output_to_a_file_is_complete_when_the_run_has_ended() {
    let home = Home::warm();
    let path = home.scratch().join("out");
    home.sh("seq 200000").stdout(File::create(&path).unwrap()).output().succeeds();
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(std::fs::read(&path).unwrap() == expected.as_bytes(), "`seq 200000` is not what arrived");
}

#[test]
fn a_reader_that_takes_its_time_loses_nothing() {
    let home = Home::warm();
    let mut running = home.sh("head -c 16777216 /dev/zero; echo end").timeout_s(60).unread().start();
    let mut reader = running.take_stdout();
    // As long as nobody reads, the guest is held back: the run cannot have ended once its first bytes are here.
    let mut first = [0; 1];
    reader.read_exact(&mut first).unwrap();
    assert!(running.process().is_alive());
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(1 + rest.len(), (16 << 20) + "end\n".len());
    running.finish().succeeds();
}
