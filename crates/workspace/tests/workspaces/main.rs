//! Workspaces of a whole host against the real guest agent: what is done when something does not go as it should.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod budget;
mod harness;
mod one_shots;
mod standing_still;
mod store_failures;
