//! Admission of a run or of a workspace: a pure function of the request, with a reason for each refusal.

use std::time::Duration;

use prost::Message;
use pyro_protocol::frame::MAX_PAYLOAD_BYTES;

use crate::{
    error::Error,
    guest_command,
    run::{self, RunRequest},
    workspaces::{CreateRequest, LONGEST_TTL},
};

/// Virtual processors a machine may have.
pub const VCPUS: std::ops::RangeInclusive<u8> = 1..=8;
/// Guest memory a machine may have, MiB.
pub const MEM_MIB: std::ops::RangeInclusive<u32> = 256..=32_768;
/// Size a workspace's disk may have, MiB: from a template's to 256 GiB. It takes room on the host as it is used.
pub const DISK_MIB: std::ops::RangeInclusive<u64> = 4096..=256 << 10;
/// Shortest life of a one-shot machine that has a bound.
pub const SHORTEST_TTL: Duration = Duration::from_secs(60);
/// Shortest time that a workspace which is stopped for want of use is given; nothing is lost by that.
pub const SHORTEST_WORKSPACE_TTL: Duration = Duration::from_secs(1);

/// Accepts the request or says what is wrong with it.
pub fn admit_run(request: &RunRequest) -> Result<(), Error> {
    let refuse = |field: &'static str, reason: String| Err(Error::Invalid { field, reason });
    if request.argv.is_empty() || request.argv[0].is_empty() {
        return refuse("command", "there is no command to run".to_owned());
    }
    admit_size(request.vcpus, request.mem_mib)?;
    if request.timeout.is_zero() {
        return refuse("timeout_seconds", "it must be greater than 0".to_owned());
    }
    admit_ttl(request.ttl, SHORTEST_TTL)?;
    guest_command::admit(&request.argv, request.cwd.as_deref(), &request.env)?;
    // A machine's id, as which the process is started, has 12 digits.
    if run::start_message("000000000000", request).encoded_len() > MAX_PAYLOAD_BYTES {
        let reason =
            "arguments and variables take more than 64 KiB together; send long texts by standard input";
        return refuse("command", reason.to_owned());
    }
    Ok(())
}

/// Accepts a workspace as such, whatever else there is, or says what is wrong with it.
pub fn admit_create(request: &CreateRequest) -> Result<(), Error> {
    admit_size(request.vcpus, request.mem_mib)?;
    admit_ttl(request.ttl, SHORTEST_WORKSPACE_TTL)?;
    admit_idle_sleep(request.idle_sleep)?;
    if !DISK_MIB.contains(&request.disk_mib) {
        let reason = format!("{} is outside {} to {}", request.disk_mib, DISK_MIB.start(), DISK_MIB.end());
        return Err(Error::Invalid { field: "disk_mib", reason });
    }
    Ok(())
}

/// Accepts how long a machine may stay unused before it sleeps: none is for ever.
pub(crate) fn admit_idle_sleep(idle: Option<Duration>) -> Result<(), Error> {
    let bounded = |error| match error {
        Error::Invalid { reason, .. } => Error::Invalid { field: "idle_sleep_seconds", reason },
        other => other,
    };
    admit_ttl(idle, SHORTEST_WORKSPACE_TTL).map_err(bounded)
}

/// Accepts a time to live: none is for ever.
pub(crate) fn admit_ttl(ttl: Option<Duration>, shortest: Duration) -> Result<(), Error> {
    match ttl {
        Some(ttl) if ttl < shortest || ttl > LONGEST_TTL => Err(Error::Invalid {
            field: "ttl_seconds",
            reason: format!(
                "it must be at least {} and at most {}, or 0 for no bound",
                shortest.as_secs(),
                LONGEST_TTL.as_secs()
            ),
        }),
        _ => Ok(()),
    }
}

/// Accepts a number of processors and an amount of memory.
pub(crate) fn admit_size(vcpus: u8, mem_mib: u32) -> Result<(), Error> {
    if !VCPUS.contains(&vcpus) {
        let reason = format!("{vcpus} is outside {} to {}", VCPUS.start(), VCPUS.end());
        return Err(Error::Invalid { field: "vcpu_count", reason });
    }
    if !MEM_MIB.contains(&mem_mib) {
        let reason = format!("{mem_mib} is outside {} to {}", MEM_MIB.start(), MEM_MIB.end());
        return Err(Error::Invalid { field: "mem_mib", reason });
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
