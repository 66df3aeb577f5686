//! Admission of a run: a pure function of the request, with a reason for each refusal.

use std::time::Duration;

use prost::Message;
use pyro_protocol::frame::MAX_PAYLOAD_BYTES;

use crate::{
    error::Error,
    run::{self, RunRequest},
};

/// Virtual processors a machine may have.
pub const VCPUS: std::ops::RangeInclusive<u8> = 1..=8;
/// Guest memory a machine may have, MiB.
pub const MEM_MIB: std::ops::RangeInclusive<u32> = 256..=32_768;
/// Shortest life of a machine that has a bound.
pub const SHORTEST_TTL: Duration = Duration::from_secs(60);

/// Accepts the request or says what is wrong with it.
pub fn admit_run(request: &RunRequest) -> Result<(), Error> {
    let refuse = |field: &'static str, reason: String| Err(Error::Invalid { field, reason });
    if request.argv.is_empty() || request.argv[0].is_empty() {
        return refuse("command", "there is no command to run".to_owned());
    }
    if !VCPUS.contains(&request.vcpus) {
        return refuse(
            "vcpu_count",
            format!("{} is outside {} to {}", request.vcpus, VCPUS.start(), VCPUS.end()),
        );
    }
    if !MEM_MIB.contains(&request.mem_mib) {
        return refuse(
            "mem_mib",
            format!("{} is outside {} to {}", request.mem_mib, MEM_MIB.start(), MEM_MIB.end()),
        );
    }
    if request.timeout.is_zero() {
        return refuse("timeout_seconds", "it must be greater than 0".to_owned());
    }
    if let Some(ttl) = request.ttl
        && ttl < SHORTEST_TTL
    {
        return refuse(
            "ttl_seconds",
            format!("it must be at least {}, or 0 for no bound", SHORTEST_TTL.as_secs()),
        );
    }
    if request.cwd.as_ref().is_some_and(|cwd| cwd.first() != Some(&b'/')) {
        return refuse("cwd", "it must be an absolute path".to_owned());
    }
    let mut words = request.argv.iter().chain(request.env.iter().flat_map(|(name, value)| [name, value]));
    if words.any(|word| word.contains(&0)) {
        return refuse("command", "an argument or variable contains a NUL byte".to_owned());
    }
    // A machine's id, as which the process is started, has 12 digits.
    if run::start_message("000000000000", request).encoded_len() > MAX_PAYLOAD_BYTES {
        let reason =
            "arguments and variables take more than 64 KiB together; send long texts by standard input";
        return refuse("command", reason.to_owned());
    }
    if request.env.iter().any(|(name, _)| name.is_empty() || name.contains(&b'=')) {
        return refuse("env", "a variable's name is empty or contains `=`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut RunRequest)) -> Option<&'static str> {
        let mut request = RunRequest::new("debian:12", vec![b"true".to_vec()]);
        change(&mut request);
        match admit_run(&request) {
            Ok(()) => None,
            Err(Error::Invalid { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn each_bound_is_refused_by_name() {
        assert_eq!(refused(|_| {}), None);
        assert_eq!(refused(|r| r.argv.clear()), Some("command"));
        assert_eq!(refused(|r| r.argv[0].clear()), Some("command"));
        assert_eq!(refused(|r| r.argv.push(b"a\0b".to_vec())), Some("command"));
        assert_eq!(refused(|r| r.argv.push(vec![b'a'; 2 << 20])), Some("command"));
        assert_eq!(refused(|r| r.argv.extend((0..30_000).map(|_| b"1".to_vec()))), Some("command"));
        assert_eq!(refused(|r| r.argv.push(vec![b'a'; 60_000])), None);
        for vcpus in [0, 9] {
            assert_eq!(refused(|r| r.vcpus = vcpus), Some("vcpu_count"));
        }
        for mem_mib in [0, 255, 32_769] {
            assert_eq!(refused(|r| r.mem_mib = mem_mib), Some("mem_mib"));
        }
        assert_eq!(refused(|r| r.timeout = Duration::ZERO), Some("timeout_seconds"));
        assert_eq!(refused(|r| r.ttl = Some(Duration::from_secs(59))), Some("ttl_seconds"));
        assert_eq!(refused(|r| r.ttl = None), None);
        assert_eq!(refused(|r| r.cwd = Some(b"tmp".to_vec())), Some("cwd"));
        assert_eq!(refused(|r| r.env.push((b"A=B".to_vec(), Vec::new()))), Some("env"));
    }
}
