//! Room on the host's disk for machines that stand still for the want of it.

use std::path::Path;

use pyro_engine::Machine;
use tracing::warn;

use crate::error::chain;

/// Room that a machine which found none must have to go on.
const ROOM_BYTES: u64 = 64 << 20;

/// Lets a machine that stalled go on if there is room in `place`, where its disk lies. One that stalls again is none the
/// worse for it.
pub(super) async fn let_go_on(machine: &dyn Machine, place: &Path) {
    let free_bytes = rustix::fs::statvfs(place).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    if free_bytes >= ROOM_BYTES
        && let Err(error) = machine.resume().await
    {
        warn!(place = %place.display(), error = %chain(&error), "cannot let a machine go on");
    }
}
