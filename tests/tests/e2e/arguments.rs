//! The command line reaches the guest as it was written.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use pyro_e2e::{ENVIRONMENT, Home};

#[test]
fn several_arguments_arrive_byte_for_byte() {
    let arguments: [&[u8]; 10] = [
        b"two words",
        b"it's \"quoted\"",
        b"new\nline",
        b"",
        b"$HOME `id` *",
        b"back\\slash",
        b"\xff\xfe not UTF-8",
        "gr\u{fc}\u{df}e \u{1f600}".as_bytes(),
        b"--json",
        b"--",
    ];
    let mut command: Vec<&OsStr> = vec![OsStr::new("printf"), OsStr::new("%s\\0")];
    command.extend(arguments.map(OsStr::from_bytes));
    let mut expected = arguments.join(&0);
    expected.push(0);
    let home = Home::warm();
    home.run(command).output().succeeds().prints(expected);
}

#[test]
fn one_argument_with_white_space_is_a_shell_line() {
    let home = Home::warm();
    home.run(["echo one; echo two | tr o 0"]).output().succeeds().prints("one\ntw0\n");
}

#[test]
fn flags_are_understood_in_any_position_before_the_dashes() {
    let home = Home::warm();
    let orders: [&[&str]; 4] = [
        &["run", "--json", "--timeout-seconds", "20", ENVIRONMENT],
        &["run", ENVIRONMENT, "--json", "--timeout-seconds", "20"],
        &["run", "--json", ENVIRONMENT, "--timeout-seconds=20"],
        &["run", "--timeout-seconds=20", ENVIRONMENT, "--json"],
    ];
    for words in orders {
        let outcome = home.pyro(words).command(["echo", "--json"]).output().succeeds();
        assert_eq!(outcome.result()["stdout"], "--json\n", "{outcome}");
    }
}
