//! Judgements that several requests share, and that need no host. A request's own `check` is made of them: the client
//! runs it before it asks, the daemon before it acts, so that nothing is begun for a request that cannot succeed.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive};

use crate::{
    error::{ErrorBody, ErrorCode},
    text::ByteString,
};

/// A number that must lie in a range.
pub(crate) fn within<N: PartialOrd + Display + Copy>(
    what: &str,
    value: N,
    range: &RangeInclusive<N>,
) -> Result<(), ErrorBody> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    Err(ErrorBody::new(ErrorCode::InvalidSize, format!("{what} must be from {least} to {most}, not {value}")))
}

/// A malformed request.
pub(crate) fn invalid(error: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidRequest, error)
}

/// Something that a later release will do.
pub(crate) fn not_yet(error: &str, hint: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotYetSupported, error).with_hint(hint)
}

/// An environment that this release can look for.
pub(crate) fn environment_name(environment: &str) -> Result<(), ErrorBody> {
    if environment.starts_with("oci:") {
        return Err(not_yet(
            "images from registries (oci:…) are not supported in this release",
            "`pyro env import NAME DIR|TAR` makes an environment from a root file system",
        ));
    }
    Ok(())
}

/// Environment variables that a program can be given.
pub(crate) fn variables(env: &BTreeMap<String, ByteString>) -> Result<(), ErrorBody> {
    if let Some(name) = env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(invalid(format!("{name:?} cannot be the name of an environment variable")));
    }
    if let Some((name, _)) = env.iter().find(|(_, value)| value.0.contains(&0)) {
        return Err(invalid(format!("the value of environment variable {name} contains a NUL byte")));
    }
    Ok(())
}

/// An account in the guest.
pub(crate) fn user(user: Option<&str>) -> Result<(), ErrorBody> {
    if user.is_some_and(|user| user.is_empty() || user.contains('\0')) {
        return Err(invalid("user is empty"));
    }
    Ok(())
}

/// A path on the host. The daemon has a working directory of its own, so only absolute ones mean anything to it.
pub(crate) fn host_path(what: &str, path: &ByteString) -> Result<(), ErrorBody> {
    if path.0.first() != Some(&b'/') {
        return Err(invalid(format!("{what} is not an absolute path")));
    }
    if path.0.contains(&0) {
        return Err(invalid(format!("{what} contains a NUL byte")));
    }
    Ok(())
}

/// Text that may be empty but for one of several alternatives: exactly one must be there.
pub(crate) fn exactly_one(names: &str, given: &[bool]) -> Result<(), ErrorBody> {
    if given.iter().filter(|given| **given).count() == 1 {
        return Ok(());
    }
    Err(invalid(format!("exactly one of {names} must be given")))
}
