//! Pages of a list whose order changes while it is read: a page ends at a place in the order, not at a workspace, so the next
//! one can begin there whatever became of that workspace.
//!
//! What is used between two pages moves to the front: it may come twice, or be on a page that was given out already.
//! Nothing that stays as it is comes twice or is missed.

use std::{
    cmp::Reverse,
    time::{SystemTime, UNIX_EPOCH},
};

use pyro_api::{ErrorBody, ErrorCode};
use pyro_workspace::workspaces::{WorkspaceId, WorkspaceRecord};

/// A place in the list: last used first, then newest first, then by id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    last_activity_ns: Reverse<u128>,
    created_ns: Reverse<u128>,
    id: WorkspaceId,
}

impl Place {
    /// Where a workspace stands.
    pub(super) fn of(record: &WorkspaceRecord) -> Self {
        Self {
            last_activity_ns: Reverse(nanoseconds(record.last_activity_at)),
            created_ns: Reverse(nanoseconds(record.created_at)),
            id: record.id.clone(),
        }
    }

    /// For the client, who hands it back as it is.
    pub(super) fn to_cursor(&self) -> String {
        format!("{}-{}-{}", self.last_activity_ns.0, self.created_ns.0, self.id)
    }

    /// What [`Place::to_cursor`] made.
    pub(super) fn from_cursor(cursor: &str) -> Result<Self, ErrorBody> {
        Self::parse(cursor).ok_or_else(|| {
            ErrorBody::new(ErrorCode::InvalidRequest, "cursor is none that was ever given out")
                .with_hint("begin again without a cursor")
        })
    }

    fn parse(cursor: &str) -> Option<Self> {
        let (last_activity, rest) = cursor.split_once('-')?;
        let (created, id) = rest.split_once('-')?;
        Some(Self {
            last_activity_ns: Reverse(last_activity.parse().ok()?),
            created_ns: Reverse(created.parse().ok()?),
            id: id.parse().ok()?,
        })
    }
}

/// So many behind the place where the last page ended, and the cursor of the next page, if there is one.
pub(super) fn behind<T>(
    ended: Option<&Place>,
    mut items: Vec<T>,
    limit: usize,
    place_of: impl Fn(&T) -> Place,
) -> (Vec<T>, Option<String>) {
    if let Some(ended) = ended {
        items.retain(|item| place_of(item) > *ended);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(|last| place_of(last).to_cursor());
    (items, next)
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(last_activity_ns: u128, created_ns: u128, id: u8) -> Place {
        Place {
            last_activity_ns: Reverse(last_activity_ns),
            created_ns: Reverse(created_ns),
            id: WorkspaceId::from_bytes([id; 6]),
        }
    }

    #[test]
    fn places_stand_as_the_list_does() {
        let order = [place(9, 1, 2), place(8, 3, 2), place(8, 2, 1), place(8, 2, 2)];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn pages_go_on_where_they_ended_whatever_became_of_the_last_workspace() {
        let ids =
            |page: &[Place]| -> Vec<WorkspaceId> { page.iter().map(|place| place.id.clone()).collect() };
        let page = |cursor: Option<&str>, items: &[Place]| {
            let ended = cursor.map(|cursor| Place::from_cursor(cursor).unwrap());
            behind(ended.as_ref(), items.to_vec(), 2, Place::clone)
        };
        let all = [place(9, 0, 1), place(8, 0, 2), place(7, 0, 3), place(6, 0, 4)];
        let (first, cursor) = page(None, &all);
        assert_eq!(ids(&first), ids(&all[..2]));
        // The second is where it was, or was deleted, or used and is at the front.
        let deleted = [&all[..1], &all[2..]].concat();
        let used = [&[place(10, 0, 2)], &deleted[..]].concat();
        for rest in [all.to_vec(), deleted, used] {
            let (second, end) = page(cursor.as_deref(), &rest);
            assert_eq!((ids(&second), end), (ids(&all[2..]), None));
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_given_out() {
        let given = place(u128::from(u64::MAX), 7, 3);
        assert_eq!(Place::from_cursor(&given.to_cursor()).unwrap(), given);
        for bad in ["", "x", "1-2", "1-2-030303030303-4", "-1-2-030303030303", "1-2-zz"] {
            assert_eq!(Place::from_cursor(bad).unwrap_err().code, ErrorCode::InvalidRequest, "{bad}");
        }
    }
}
