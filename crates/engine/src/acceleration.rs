//! What KVM is worth on this host: measured by running a known loop in a guest, since the device is also there on hosts
//! where a guest's kernel is emulated a thousand times too slowly or not at all.

use std::{fs, io, io::Write, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    kvm::{self, LoopEnd, ROUNDS},
    launch::{self, Launcher},
    record::host_boot_id,
};

/// A processor takes 5 to 30 ns for a round of the loop; an emulation of it takes microseconds.
const MAX_ROUND_NS: u64 = 200;
/// Loops run before KVM is called useless.
const ATTEMPTS: u32 = 5;
/// The loop takes 1 ms where KVM works; starting a process on a loaded host takes longer than that.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Acceleration {
    /// KVM runs guest code at the processor's speed.
    Works {
        /// Nanoseconds for one round of the loop.
        loop_ns: u64,
    },
    /// There is no `/dev/kvm`.
    Absent,
    /// There is one that this user may not open.
    NoPermission,
    /// It can be opened and does not accelerate.
    Useless {
        /// What happened, for people.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Cached {
    host_boot_id: String,
    acceleration: Acceleration,
}

/// Measures in a child process, or answers from `cache`, a file of the caller's that holds the verdict of this boot of
/// the host. A verdict about permission is not cached, since a person mends that.
pub async fn measure(launcher: &Launcher, cache: &Path) -> io::Result<Acceleration> {
    let host_boot_id = host_boot_id()?;
    let cached = fs::read(cache).ok().and_then(|bytes| serde_json::from_slice::<Cached>(&bytes).ok());
    if let Some(cached) = cached.filter(|cached| cached.host_boot_id == host_boot_id) {
        return Ok(cached.acceleration);
    }
    let acceleration = measure_now(launcher).await?;
    if matches!(acceleration, Acceleration::Works { .. } | Acceleration::Useless { .. }) {
        let cached = Cached { host_boot_id, acceleration: acceleration.clone() };
        let partial = cache.with_extension(format!("partial-{}", std::process::id()));
        let kept =
            fs::write(&partial, serde_json::to_vec(&cached)?).and_then(|()| fs::rename(&partial, cache));
        if let Err(error) = kept {
            tracing::warn!(?cache, %error, "the verdict on KVM is not kept and will be measured again");
        }
    }
    Ok(acceleration)
}

async fn measure_now(launcher: &Launcher) -> io::Result<Acceleration> {
    let Some(output) = launch::run_hidden(launcher, launch::MEASURE_KVM, TIMEOUT).await? else {
        let reason = format!("a loop of {ROUNDS} rounds did not end within {} s", TIMEOUT.as_secs());
        return Ok(Acceleration::Useless { reason });
    };
    let crashed = || Acceleration::Useless { reason: "the measuring process crashed".to_owned() };
    Ok(serde_json::from_slice(&output).unwrap_or_else(|_| crashed()))
}

/// Measures in this process, which may hang, and prints the verdict for the one that asked.
pub(crate) fn measure_here() -> i32 {
    // The best of several: one that was interrupted says nothing about the processor.
    let fast = |verdict: &Acceleration| !matches!(verdict, Acceleration::Useless { .. });
    let mut verdict = judge(kvm::run_loop());
    for _ in 1..ATTEMPTS {
        if fast(&verdict) {
            break;
        }
        verdict = judge(kvm::run_loop());
    }
    let printed =
        serde_json::to_vec(&verdict).map_err(io::Error::from).and_then(|text| io::stdout().write_all(&text));
    i32::from(printed.is_err())
}

fn judge(outcome: io::Result<LoopEnd>) -> Acceleration {
    match outcome {
        Ok(LoopEnd::Halted { elapsed_ns }) if elapsed_ns / ROUNDS <= MAX_ROUND_NS => {
            Acceleration::Works { loop_ns: elapsed_ns / ROUNDS }
        }
        Ok(LoopEnd::Halted { elapsed_ns }) => Acceleration::Useless {
            reason: format!(
                "{} ns for a round of a loop that takes at most {MAX_ROUND_NS}",
                elapsed_ns / ROUNDS
            ),
        },
        Ok(LoopEnd::Exit { reason }) => {
            Acceleration::Useless { reason: format!("guest code stopped with KVM exit reason {reason}") }
        }
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound => Acceleration::Absent,
            io::ErrorKind::PermissionDenied => Acceleration::NoPermission,
            _ => match e.raw_os_error() {
                // The node is there, the driver behind it is not.
                Some(libc::ENXIO | libc::ENODEV) => Acceleration::Absent,
                _ => Acceleration::Useless { reason: e.to_string() },
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_decides() {
        assert_eq!(
            judge(Ok(LoopEnd::Halted { elapsed_ns: 20 * ROUNDS })),
            Acceleration::Works { loop_ns: 20 }
        );
        assert!(matches!(
            judge(Ok(LoopEnd::Halted { elapsed_ns: 2_000 * ROUNDS })),
            Acceleration::Useless { .. }
        ));
        assert!(matches!(judge(Ok(LoopEnd::Exit { reason: 17 })), Acceleration::Useless { .. }));
        assert_eq!(judge(Err(io::Error::from_raw_os_error(libc::EACCES))), Acceleration::NoPermission);
        assert_eq!(judge(Err(io::Error::from_raw_os_error(libc::ENOENT))), Acceleration::Absent);
    }
}
