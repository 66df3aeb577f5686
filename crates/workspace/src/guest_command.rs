//! What every command in a guest has in common, whether its machine is for it alone or stays.

use std::time::Duration;

use bytes::Bytes;
use pyro_protocol::message::{self, FailureCode};
use tokio::sync::mpsc;

use crate::{
    error::Error,
    run::CommandEnd,
    session::{InputStream, SessionError},
};

/// The guest enforces timeouts; a guest that is too broken for that is given up this much later.
pub(crate) const TIMEOUT_GRACE: Duration = Duration::from_secs(15);

/// Where commands start, unless told otherwise.
pub(crate) const HOME: &[u8] = b"/workspace";

/// Refuses words that no program can be given.
pub(crate) fn admit(argv: &[Vec<u8>], cwd: Option<&[u8]>, env: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Error> {
    let refuse = |field, reason: &str| Err(Error::Invalid { field, reason: reason.to_owned() });
    if cwd.is_some_and(|cwd| cwd.first() != Some(&b'/')) {
        return refuse("cwd", "it must be an absolute path");
    }
    let mut words = argv.iter().chain(env.iter().flat_map(|(name, value)| [name, value]));
    if words.any(|word| word.contains(&0)) {
        return refuse("command", "an argument or variable contains a NUL byte");
    }
    if env.iter().any(|(name, _)| name.is_empty() || name.contains(&b'=')) {
        return refuse("env", "a variable's name is empty or contains `=`");
    }
    Ok(())
}

/// A command that cannot start is the command's failure, told as a shell would tell it: exit code and message. None
/// when it is not the command that is at fault.
pub(crate) fn refusal(error: &SessionError, program: &[u8]) -> Option<(i32, String)> {
    let SessionError::Refused { code, message } = error else { return None };
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let program: String = String::from_utf8_lossy(program).chars().map(printable).collect();
    match code {
        FailureCode::ProgramNotFound => Some((127, format!("pyro: {program}: command not found\n"))),
        FailureCode::ProgramNotExecutable => Some((126, format!("pyro: {program}: permission denied\n"))),
        FailureCode::BadDirectory | FailureCode::Invalid => Some((125, format!("pyro: {message}\n"))),
        _ => None,
    }
}

/// How the command ended, by what the guest says.
pub(crate) fn end_of(status: &message::ExitStatus) -> CommandEnd {
    match (status.timed_out, status.signal, status.code) {
        (true, ..) => CommandEnd::TimedOut,
        (false, Some(signal), _) => CommandEnd::Signalled(signal),
        (false, None, code) => CommandEnd::Exited(code.unwrap_or_default()),
    }
}

/// Variables as the guest takes them.
pub(crate) fn variables(env: &[(Vec<u8>, Vec<u8>)]) -> Vec<message::Variable> {
    let variable =
        |(name, value): &(Vec<u8>, Vec<u8>)| message::Variable { name: name.clone(), value: value.clone() };
    env.iter().map(variable).collect()
}

/// Feeds standard input until the channel closes, which is true, or until the command wants no more: it has closed its
/// input or has ended, which is no error.
pub(crate) async fn feed(input: &mut InputStream, stdin: &mut mpsc::Receiver<Bytes>) -> bool {
    while let Some(bytes) = stdin.recv().await {
        if input.write_all(&bytes).await.is_err() {
            return false;
        }
    }
    true
}
