//! Changes to a tree in use that happen whole or not at all.

/// The directory at the top of a tree that holds a transaction while it lasts. It is ours: listings, diffs and archives
/// leave it out, and no change may name it.
pub const STAGING_NAME: &str = ".pyro-transaction";
