//! Names and labels: what people find workspaces by.

use std::collections::BTreeMap;

use super::{WorkspaceId, WorkspaceRecord};
use crate::error::Error;

/// Longest name and longest value of a label, characters.
pub const NAME_CHARS: usize = 120;
/// Longest key of a label, characters.
pub const LABEL_KEY_CHARS: usize = 64;

/// A name as it is kept: trimmed, printable, not empty.
pub(super) fn name(text: &str) -> Result<String, Error> {
    words("name", text, char::is_control)
}

/// Labels as they are kept.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    // Tabs are kept: other tools write them into values.
    let is_refused = |c: char| c.is_control() && c != '\t';
    labels.iter().map(|(key, value)| Ok((label_key(key)?, words("labels", value, is_refused)?))).collect()
}

/// The key of a label: begins with a letter or digit, goes on with these, `.`, `_` and `-`.
pub fn label_key(key: &str) -> Result<String, Error> {
    let key = key.trim();
    let first = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if first && rest && key.len() <= LABEL_KEY_CHARS {
        return Ok(key.to_owned());
    }
    let reason = format!(
        "{key:?} is no key: it has 1 to {LABEL_KEY_CHARS} of A-Z, a-z, 0-9, `.`, `_` and `-`, a letter or digit first"
    );
    Err(Error::Invalid { field: "labels", reason })
}

fn words(field: &'static str, text: &str, is_refused: impl Fn(char) -> bool) -> Result<String, Error> {
    let text = text.trim();
    let refuse = |reason: String| Err(Error::Invalid { field, reason });
    if text.is_empty() {
        return refuse("it must not be blank".to_owned());
    }
    if text.chars().count() > NAME_CHARS {
        return refuse(format!("it has more than {NAME_CHARS} characters"));
    }
    if text.chars().any(is_refused) {
        return refuse("it contains a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Whether that is the name of the workspace. Names are kept trimmed.
pub(super) fn is_named(record: &WorkspaceRecord, reference: &str) -> bool {
    record.name.as_deref().is_some_and(|name| name == reference.trim())
}

/// The one workspace of those that have the name `reference`.
pub(super) fn only_one(mut named: Vec<WorkspaceId>, reference: &str) -> Result<WorkspaceId, Error> {
    match named.len() {
        0 => Err(Error::UnknownWorkspace { reference: reference.to_owned() }),
        1 => Ok(named.remove(0)),
        _ => Err(Error::AmbiguousName { name: reference.to_owned(), candidates: named }),
    }
}

/// Changes to what people know a workspace by, and to how long it stays.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WorkspaceUpdate {
    /// Another name.
    pub name: Option<String>,
    /// No name any more; not together with `name`.
    pub clear_name: bool,
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// Labels to remove; applied after setting.
    pub clear_labels: Vec<String>,
    /// Another time to live; the inner none: for ever.
    pub ttl: Option<Option<std::time::Duration>>,
    /// How long its machine may stay unused before it sleeps; the inner none: for ever.
    pub idle_sleep: Option<Option<std::time::Duration>>,
    /// Whether a checkpoint is taken before each call that may change something.
    pub auto_checkpoint: Option<bool>,
}

/// Applies the update. One that changes nothing is refused; a time to live that is given begins anew, so it always does.
pub(crate) fn apply(record: &mut WorkspaceRecord, update: &WorkspaceUpdate) -> Result<(), Error> {
    let before = record.clone();
    if update.name.is_some() && update.clear_name {
        let reason = "a name cannot be set and cleared at once".to_owned();
        return Err(Error::Invalid { field: "name", reason });
    }
    if let Some(text) = &update.name {
        record.name = Some(name(text)?);
    }
    if update.clear_name {
        record.name = None;
    }
    record.labels.extend(labels(&update.labels)?);
    for key in &update.clear_labels {
        record.labels.remove(&label_key(key)?);
    }
    if let Some(ttl) = update.ttl {
        crate::policy::admit_ttl(ttl, crate::policy::SHORTEST_WORKSPACE_TTL)?;
        record.ttl = ttl;
    }
    if let Some(idle_sleep) = update.idle_sleep {
        crate::policy::admit_idle_sleep(idle_sleep)?;
        record.idle_sleep = idle_sleep;
    }
    if let Some(auto_checkpoint) = update.auto_checkpoint {
        record.auto_checkpoint = auto_checkpoint;
    }
    if update.ttl.is_none() && *record == before {
        let reason = "nothing would change".to_owned();
        return Err(Error::Invalid { field: "update", reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_printable_words() {
        assert_eq!(name("  fix 42 ").unwrap(), "fix 42");
        for bad in ["", "   ", "a\nb", "a\tb", "a\u{7}", &"x".repeat(121)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert!(name(&"é".repeat(120)).is_ok());
    }

    fn record() -> WorkspaceRecord {
        use std::time::{Duration, SystemTime};

        use pyro_engine::{MachineShape, Nic};

        use super::super::record::{SeedRecord, StopReason, WorkspaceState};
        WorkspaceRecord {
            id: WorkspaceId::from_bytes([1; 6]),
            name: Some("a".into()),
            labels: BTreeMap::from([("k".into(), "v".into())]),
            environment: "debian:12".into(),
            environment_version: "1".into(),
            boot_digest: "d".into(),
            kernel_arguments: Vec::new(),
            shape: MachineShape { vcpus: 1, mem_mib: 512, nic: Nic::None },
            disk_bytes: 0,
            ttl: Some(Duration::from_secs(600)),
            created_at: SystemTime::UNIX_EPOCH,
            last_activity_at: SystemTime::UNIX_EPOCH,
            one_shot: false,
            call: None,
            ends_with_callers: false,
            allow_host_compat: false,
            state: WorkspaceState::Stopped { reason: StopReason::Requested },
            seed: SeedRecord::default(),
            disk: Default::default(),
            lineage: Default::default(),
            idle_sleep: None,
            auto_checkpoint: false,
            last_error: None,
        }
    }

    #[test]
    fn an_update_without_effect_is_refused_but_a_life_can_always_begin_anew() {
        let update = |update: WorkspaceUpdate| {
            let mut record = record();
            apply(&mut record, &update).map(|()| record)
        };
        for nothing in [
            WorkspaceUpdate::default(),
            WorkspaceUpdate { name: Some(" a ".into()), ..WorkspaceUpdate::default() },
            WorkspaceUpdate { labels: record().labels, ..WorkspaceUpdate::default() },
            WorkspaceUpdate { clear_labels: vec!["unknown".into()], ..WorkspaceUpdate::default() },
        ] {
            assert!(update(nothing.clone()).is_err(), "{nothing:?}");
        }
        let same = update(WorkspaceUpdate { ttl: Some(record().ttl), ..WorkspaceUpdate::default() });
        assert_eq!(same.unwrap(), record());
        let cleared = WorkspaceUpdate { clear_labels: vec!["k".into()], ..WorkspaceUpdate::default() };
        assert!(update(cleared).unwrap().labels.is_empty());
    }

    #[test]
    fn values_of_labels_may_hold_tabs_and_no_other_control_characters() {
        let label = |value: &str| labels(&BTreeMap::from([("k".to_owned(), value.to_owned())]));
        assert_eq!(label("a\tb").unwrap()["k"], "a\tb");
        for bad in ["", "\t", "a\nb", "a\rb", "a\u{1b}b"] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn label_keys_follow_the_contract() {
        for good in ["a", "A.b_c-9", "0"] {
            assert!(label_key(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "ä", &"k".repeat(65)] {
            assert!(label_key(bad).is_err(), "{bad}");
        }
    }
}
