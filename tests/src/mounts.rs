//! A host that looks different: mounts in namespaces of their own, seen by one command and its children alone.

use rustix::process::{getgid, getuid};

/// The words of a wrapper for [`Invocation::under`](crate::Invocation::under): runs the shell line `mount` where mounting is
/// allowed, then the shell line `inside`, whose `"$@"` is the wrapped command, as the same user as outside.
pub fn mount_wrapper(mount: &str, inside: &str) -> Vec<String> {
    let (uid, gid) = (getuid(), getgid());
    let mut words = vec!["unshare".to_owned()];
    let become_oneself = if uid.is_root() {
        String::new()
    } else {
        words.extend(["--user", "--map-root-user"].map(str::to_owned));
        // Mounting needs root, also in a namespace; a second namespace gives the user back.
        format!("unshare --user --map-user={} --map-group={} -- ", uid.as_raw(), gid.as_raw())
    };
    words.extend(["--mount", "--", "sh", "-c"].map(str::to_owned));
    words.push(format!(
        r#"{mount} || exit 90; cd /; inside=$0; exec {become_oneself}sh -c "$inside" inside "$@""#
    ));
    words.push(inside.to_owned());
    words
}
