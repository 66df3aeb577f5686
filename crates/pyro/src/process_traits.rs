//! What a process that owns machines asks of its kernel, for itself and as best it can: a kernel that refuses leaves it
//! as it was, and what then goes wrong is told where it does.

use rustix::process::{Resource, Rlimit, getpid, getrlimit, set_child_subreaper, setrlimit};

/// Enough for thousands of machines. Not more, although some hosts allow a thousand million: programs that builders run
/// close all descriptors that there could be, one by one.
const MOST_OPEN_FILES: u64 = 65_536;

/// Makes orphaned descendants this process's children. Machine processes are orphans from birth, and pid 1 of a
/// container often does not see off those that have ended.
pub(crate) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::warn!(%error, "machine processes that end are left to pid 1");
    }
}

/// Raises the number of descriptors that this process may have, each machine needing several.
pub(crate) fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MOST_OPEN_FILES, |maximum| maximum.min(MOST_OPEN_FILES));
    if limit.current.is_none_or(|current| current >= most) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }) {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
}
