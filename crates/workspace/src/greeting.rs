//! First contact with a machine's guest: connect, agree on a version, and tell silence from death.

use std::time::Duration;

use pyro_engine::Machine;

use crate::{error::Error, session::GuestSession};

/// Longest time a booting guest may take to answer, on a busy emulated host.
pub(crate) const BOOT_PATIENCE: Duration = Duration::from_secs(120);
/// Longest time a restored guest may take to answer.
pub(crate) const RESTORE_PATIENCE: Duration = Duration::from_secs(30);

/// How much of a console is worth quoting.
const EVIDENCE_BYTES: usize = 600;

/// Opens a session, or says why there is none: the machine ended, or the guest stayed silent for `patience`. A silent
/// machine is ended, since nothing can be done with it; one that stands still is not silent but cannot answer.
pub(crate) async fn greet(
    machine: &dyn Machine,
    release: &str,
    patience: Duration,
) -> Result<GuestSession, Error> {
    let open = async {
        let stream = machine
            .connect()
            .await
            .map_err(|source| Error::Engine { operation: "connect to the guest", source })?;
        GuestSession::open(stream, release)
            .await
            .map_err(|source| Error::Guest { operation: "agree with the guest on a session", source })
    };
    tokio::select! {
        session = open => session,
        report = machine.exited() => Err(Error::MachineLost {
            reason: report.cause.to_string(),
            console: quoted(&report.last_output),
            work_started: false,
        }),
        () = tokio::time::sleep(patience) => {
            if machine.stall().is_some() {
                let console = String::new();
                return Err(Error::GuestSilent { operation: "answer", seconds: patience.as_secs(), console });
            }
            machine.kill().await.map_err(|source| Error::Engine { operation: "end a silent machine", source })?;
            let console = quoted(&machine.exited().await.last_output);
            Err(Error::GuestSilent { operation: "answer", seconds: patience.as_secs(), console })
        }
    }
}

/// The end of what a machine said, in one line: the guest's word, quoted and never interpreted.
pub(crate) fn quoted(output: &str) -> String {
    let printable: String = output.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = words.floor_char_boundary(words.len().saturating_sub(EVIDENCE_BYTES));
    words[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_one_short_printable_line() {
        assert_eq!(quoted("a\r\n\x1b[31mb\t c\n"), "a [31mb c");
        let long = quoted(&"é".repeat(10_000));
        assert!(long.len() <= EVIDENCE_BYTES + 1 && long.ends_with('é'));
    }
}
