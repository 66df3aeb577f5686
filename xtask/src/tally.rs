//! Counts what test programs report.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

/// How many tests ended in which way.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    /// Passed.
    pub(crate) passed: u64,
    /// Failed; a test program that dies counts as one.
    pub(crate) failed: u64,
    /// Not run although they exist and were asked for.
    pub(crate) skipped: u64,
}

impl Tally {
    /// Runs a test program and counts while its output goes on to the person.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        let mut tally = Self::default();
        let output = child.stdout.take().context("no pipe to the test program")?;
        let mut terminal = std::io::stdout();
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("read from the test program")?;
            tally.add(Self::of_line(&String::from_utf8_lossy(&line)));
            terminal.write_all(&line).and_then(|()| terminal.write_all(b"\n")).context("pass output on")?;
        }
        let status = child.wait().context("wait for the test program")?;
        if !status.success() && tally.failed == 0 {
            eprintln!("{:?} ended with {status} and named no failed test", command.get_program());
            tally.failed = 1;
        }
        Ok(tally)
    }

    /// Adds another.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; anything else counts nothing.
    fn of_line(line: &str) -> Self {
        let mut tally = Self::default();
        let Some(result) = line.trim().strip_prefix("test result: ") else { return tally };
        let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for count in counts.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => tally.passed = number,
                "failed" => tally.failed = number,
                "ignored" => tally.skipped = number,
                _ => {}
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted_and_others_are_not() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.1s";
        assert_eq!(Tally::of_line(line), Tally { passed: 3, failed: 2, skipped: 1 });
        assert_eq!(Tally::of_line("test x ... ok"), Tally::default());
    }

    #[test]
    fn a_program_that_dies_without_a_word_has_failed() {
        let tally = Tally::of(&mut Command::new("false")).unwrap();
        assert_eq!(tally, Tally { failed: 1, ..Tally::default() });
    }
}
