//! `workspace_list`: finding workspaces.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use super::{
    identity::{Labels, WorkspaceName},
    view::{WorkspaceListItem, WorkspaceState},
};
use crate::{
    check::{invalid, within},
    error::ErrorBody,
};

/// Workspaces of one page.
pub const PAGE_SIZES: RangeInclusive<u64> = 1..=10_000;

const MAX_CURSOR_BYTES: usize = 1024;

/// Which workspaces.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceListRequest {
    /// Only those of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<WorkspaceName>,
    /// Only those with all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<WorkspaceState>,
    /// At most so many, within [`PAGE_SIZES`]; as many as may be when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = *PAGE_SIZES.start(), max = *PAGE_SIZES.end())))]
    pub limit: Option<u64>,
    /// Go on where the page with this `next_cursor` ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl WorkspaceListRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.limit.map_or(Ok(()), |limit| within("limit", limit, &PAGE_SIZES))?;
        let bad_cursor = |cursor: &String| cursor.is_empty() || cursor.len() > MAX_CURSOR_BYTES;
        if self.cursor.as_ref().is_some_and(bad_cursor) {
            return Err(invalid("cursor is none that was ever given out"));
        }
        Ok(())
    }
}

/// A page of workspaces.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceList {
    /// How many there are on this page.
    pub count: u64,
    /// Last used first, then newest first, then by id.
    pub workspaces: Vec<WorkspaceListItem>,
    /// What to ask for the next page with; null: this is the last one.
    pub next_cursor: Option<String>,
}
