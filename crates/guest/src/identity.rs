//! Makes a restored machine an individual. It woke with the random pool, the clock, the name and the id of the
//! machine it was saved from, and so did all its siblings.

use std::fs::{self, File};
use std::io;

use pyro_protocol::message::{Individual, Individualize};
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::kernel;

/// Less than this is no reseeding.
const MIN_ENTROPY_BYTES: usize = 32;
const MACHINE_ID_DIGITS: usize = 32;
const MAX_HOST_NAME_BYTES: usize = 64;

/// What could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A part of the request that makes no sense.
    #[error("individualize with {0}")]
    Invalid(&'static str),
    /// The random pool.
    #[error("reseed the random pool")]
    Entropy(#[source] io::Error),
    /// The clock.
    #[error("set the clock")]
    Clock(#[source] io::Error),
    /// The host name.
    #[error("set the host name")]
    HostName(#[source] io::Error),
    /// The machine id.
    #[error("write the machine id")]
    MachineId(#[source] io::Error),
    /// The deadline.
    #[error("set the deadline")]
    Deadline(#[source] io::Error),
}

/// Takes over entropy, clock, host name and machine id. Everything is checked before anything is changed.
pub fn assume(wish: &Individualize) -> Result<(), IdentityError> {
    check(wish)?;
    if !wish.entropy.is_empty() {
        reseed(&wish.entropy).map_err(IdentityError::Entropy)?;
    }
    if wish.realtime_ns > 0 {
        set_clock(wish.realtime_ns).map_err(IdentityError::Clock)?;
    }
    if !wish.host_name.is_empty() {
        set_host_name(&wish.host_name).map_err(IdentityError::HostName)?;
    }
    if !wish.machine_id.is_empty() {
        set_machine_id(&wish.machine_id).map_err(IdentityError::MachineId)?;
    }
    Ok(())
}

/// Who the kernel is.
pub fn individual() -> Individual {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Individual {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        kernel_boot_id: boot_id.trim_end().to_owned(),
    }
}

/// Takes a host name, for the kernel and for programs that read `/etc/hostname`.
///
/// # Errors
/// The kernel's.
fn set_host_name(name: &str) -> io::Result<()> {
    rustix::system::sethostname(name.as_bytes())?;
    rewrite("/etc/hostname", name)
}

/// Puts the files of host name and machine id into memory: a restored machine writes both first thing, and writing to
/// a disk takes an emulated processor ten times as long. They tell who this boot is, and go with it.
///
/// # Errors
/// The kernel's.
pub fn prepare_files(host_name: &str) -> io::Result<()> {
    let known_id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    for (file, in_memory) in [("/etc/hostname", "/run/hostname"), ("/etc/machine-id", "/run/machine-id")] {
        File::create(in_memory)?;
        // There has to be something to mount upon.
        File::options().append(true).create(true).open(file)?;
        rustix::mount::mount_bind(in_memory, file)?;
    }
    set_host_name(host_name)?;
    let id = known_id;
    // What systemd's own tools take for "not known yet".
    let id = if id.trim().is_empty() { "uninitialized" } else { id.trim() };
    set_machine_id(id)
}

fn set_machine_id(id: &str) -> io::Result<()> {
    rewrite("/etc/machine-id", id)
}

/// Replaces the one line of a file.
fn rewrite(path: &str, line: &str) -> io::Result<()> {
    let text = format!("{line}\n");
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn check(wish: &Individualize) -> Result<(), IdentityError> {
    let name = wish.host_name.as_bytes();
    let name_is_plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte));
    let id_is_hex = wish.machine_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !wish.entropy.is_empty() && wish.entropy.len() < MIN_ENTROPY_BYTES {
        return Err(IdentityError::Invalid("less than 32 bytes of entropy"));
    }
    if !name_is_plain || name.len() > MAX_HOST_NAME_BYTES {
        return Err(IdentityError::Invalid("a host name other than at most 64 of [A-Za-z0-9.-]"));
    }
    if !wish.machine_id.is_empty() && (!id_is_hex || wish.machine_id.len() != MACHINE_ID_DIGITS) {
        return Err(IdentityError::Invalid("a machine id other than 32 lower-case hex digits"));
    }
    Ok(())
}

fn reseed(entropy: &[u8]) -> io::Result<()> {
    let random = File::open("/dev/random")?;
    kernel::add_entropy(&random, entropy)?;
    kernel::reseed_random_generator(&random)
}

fn set_clock(realtime_ns: u64) -> io::Result<()> {
    const NANOSECONDS: u64 = 1_000_000_000;
    let seconds = i64::try_from(realtime_ns / NANOSECONDS).map_err(io::Error::other)?;
    let nanoseconds = i64::try_from(realtime_ns % NANOSECONDS).map_err(io::Error::other)?;
    Ok(clock_settime(ClockId::Realtime, Timespec { tv_sec: seconds, tv_nsec: nanoseconds })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wish: &Individualize) -> bool {
        matches!(check(wish), Err(IdentityError::Invalid(_)))
    }

    #[test]
    fn odd_identities_are_refused() {
        assert!(refused(&Individualize { entropy: vec![1; 31], ..Individualize::default() }));
        assert!(refused(&Individualize { host_name: "a\nb".into(), ..Individualize::default() }));
        assert!(refused(&Individualize { host_name: "a".repeat(65), ..Individualize::default() }));
        assert!(refused(&Individualize { machine_id: "A".repeat(32), ..Individualize::default() }));
        assert!(refused(&Individualize { machine_id: "a".repeat(31), ..Individualize::default() }));
        assert!(!refused(&Individualize { machine_id: "a".repeat(32), ..Individualize::default() }));
    }
}
