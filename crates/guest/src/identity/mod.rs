//! Makes a restored machine an individual. It woke with the random pool, the clock, the name and the ids of the
//! machine it was saved from, and so did all its siblings.
//!
//! The kernel's own boot id cannot be changed; programs see another one in its place.

mod hosts;
mod shown;

use std::fs::{self, File};
use std::io::{self, Read};

use pyro_protocol::message::{Individual, Individualize};
use rustix::time::{ClockId, Timespec, clock_settime};

use self::shown::Shown;
use crate::{kernel, plain_file};

/// Less than this is no reseeding.
const MIN_ENTROPY_BYTES: usize = 32;
const MACHINE_ID_DIGITS: usize = 32;
const MAX_HOST_NAME_BYTES: usize = 64;
const DEFAULT_HOST_NAME: &str = "pyro";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A part of the request that makes no sense.
    #[error("individualize with {0}")]
    Invalid(&'static str),
    /// The random pool.
    #[error("reseed the random pool")]
    Entropy(#[source] io::Error),
    /// The boot id.
    #[error("renew the boot id")]
    BootId(#[source] io::Error),
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

/// Who the machine is, with everything open that tells it: taking an identity is the first thing that a restored
/// machine does, while somebody waits.
#[derive(Debug)]
pub struct Identity {
    individual: Individual,
    host_name: String,
    random: File,
    shown_host_name: Shown,
    shown_machine_id: Shown,
    shown_boot_id: Shown,
    hosts: Shown,
}

impl Identity {
    /// Takes the identity that the disk or the image knows, or a first one, and shows it in the well-known files.
    ///
    /// # Errors
    /// The kernel's. A root without `/etc` is none.
    pub fn settle() -> io::Result<Self> {
        let individual = individual();
        let host_name = known_host_name();
        rustix::system::sethostname(host_name.as_bytes())?;
        let machine_id = plain_file::text("/etc/machine-id");
        // What systemd's own tools take for "not known yet".
        let machine_id = Some(machine_id.trim()).filter(|id| !id.is_empty()).unwrap_or("uninitialized");
        let hosts = hosts::renamed(&plain_file::text("/etc/hosts"), "", &host_name);
        let show = |place, in_memory, mode, text: &str| Shown::new(place, in_memory, mode, text);
        Ok(Self {
            random: File::open("/dev/random")?,
            shown_host_name: show("/etc/hostname", "/run/hostname", 0o644, &line(&host_name))?,
            shown_machine_id: show("/etc/machine-id", "/run/machine-id", 0o444, &line(machine_id))?,
            shown_boot_id: show(BOOT_ID, "/run/boot_id", 0o444, &line(&individual.kernel_boot_id))?,
            hosts: show("/etc/hosts", "/run/hosts", 0o644, &hosts)?,
            host_name,
            individual,
        })
    }

    /// Takes over entropy, clock, host name and machine id; with new entropy comes a new boot id. Everything is checked
    /// before anything is changed.
    ///
    /// # Errors
    /// What could not be changed; what came before it is done.
    pub fn assume(&mut self, wish: &Individualize) -> Result<(), IdentityError> {
        check(wish)?;
        if !wish.entropy.is_empty() {
            self.reseed(&wish.entropy).map_err(IdentityError::Entropy)?;
            self.renew_boot_id().map_err(IdentityError::BootId)?;
        }
        if wish.realtime_ns > 0 {
            set_clock(wish.realtime_ns).map_err(IdentityError::Clock)?;
        }
        if !wish.host_name.is_empty() {
            self.rename(&wish.host_name).map_err(IdentityError::HostName)?;
        }
        if !wish.machine_id.is_empty() {
            self.shown_machine_id.replace(&line(&wish.machine_id)).map_err(IdentityError::MachineId)?;
        }
        Ok(())
    }

    /// Who the machine is for the host.
    pub fn individual(&self) -> Individual {
        self.individual.clone()
    }

    fn reseed(&self, entropy: &[u8]) -> io::Result<()> {
        kernel::add_entropy(&self.random, entropy)?;
        kernel::reseed_random_generator(&self.random)
    }

    fn renew_boot_id(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16];
        self.random.read_exact(&mut bytes)?;
        self.individual.kernel_boot_id = uuid(u128::from_be_bytes(bytes));
        self.shown_boot_id.replace(&line(&self.individual.kernel_boot_id))
    }

    fn rename(&mut self, name: &str) -> io::Result<()> {
        rustix::system::sethostname(name.as_bytes())?;
        self.shown_host_name.replace(&line(name))?;
        self.hosts.replace(&hosts::renamed(&self.hosts.text()?, &self.host_name, name))?;
        name.clone_into(&mut self.host_name);
        Ok(())
    }
}

/// Who the kernel is, or what is shown of it.
pub fn individual() -> Individual {
    Individual {
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        kernel_boot_id: fs::read_to_string(BOOT_ID).unwrap_or_default().trim_end().to_owned(),
    }
}

/// The name that the machine had when it last ran, or a first one.
fn known_host_name() -> String {
    let name = plain_file::text("/etc/hostname");
    let name = name.trim();
    if name.is_empty() || !is_host_name(name) { DEFAULT_HOST_NAME.to_owned() } else { name.to_owned() }
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

/// A random one (version 4), from random bits.
fn uuid(random: u128) -> String {
    const VERSION_AND_VARIANT: u128 = (0xf << 76) | (0b11 << 62);
    let bits = (random & !VERSION_AND_VARIANT) | (0x4 << 76) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

fn is_host_name(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    is_plain && name.len() <= MAX_HOST_NAME_BYTES
}

fn check(wish: &Individualize) -> Result<(), IdentityError> {
    let id_is_hex = wish.machine_id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !wish.entropy.is_empty() && wish.entropy.len() < MIN_ENTROPY_BYTES {
        return Err(IdentityError::Invalid("less than 32 bytes of entropy"));
    }
    if !is_host_name(&wish.host_name) {
        return Err(IdentityError::Invalid("a host name other than at most 64 of [A-Za-z0-9.-]"));
    }
    if !wish.machine_id.is_empty() && (!id_is_hex || wish.machine_id.len() != MACHINE_ID_DIGITS) {
        return Err(IdentityError::Invalid("a machine id other than 32 lower-case hex digits"));
    }
    Ok(())
}

/// Sets the calendar clock to so many nanoseconds since the epoch.
///
/// # Errors
/// The kernel's.
pub fn set_clock(realtime_ns: u64) -> io::Result<()> {
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

    #[test]
    fn a_boot_id_is_a_random_uuid() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
