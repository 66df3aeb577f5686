//! Dependencies point down only. The table says which crates of ours each crate may use, and which foreign
//! ones it must not even reach through others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{checkout, step};

/// One crate's place.
struct Place {
    name: &'static str,
    /// Crates of ours it may use in a normal build.
    may_use: &'static [&'static str],
    /// Crates it must not reach in a normal build with default features, directly or through others.
    never: &'static [&'static str],
}

const PLACES: &[Place] = &[
    Place { name: "pyro-protocol", may_use: &[], never: &["tokio", "rustix", "libc"] },
    Place { name: "pyro-patch", may_use: &[], never: &["tokio", "rustix", "libc", "regex"] },
    Place { name: "pyro-tree", may_use: &[], never: &["tokio", "ignore", "flate2", "clap"] },
    Place {
        name: "pyro-guest",
        may_use: &["pyro-protocol", "pyro-tree", "pyro-patch"],
        never: &["pyro-engine", "hyper", "clap"],
    },
    // The fake engine holds the real guest agent; behind a feature that only tests ask for.
    Place {
        name: "pyro-engine",
        may_use: &["pyro-guest", "pyro-disk"],
        never: &["pyro-guest", "hyper", "clap"],
    },
    Place { name: "pyro-environments", may_use: &[], never: &["tokio", "hyper", "clap"] },
    Place { name: "pyro-disk", may_use: &[], never: &["tokio", "hyper", "clap"] },
    Place {
        name: "pyro-workspace",
        may_use: &[
            "pyro-protocol",
            "pyro-disk",
            "pyro-engine",
            "pyro-environments",
            "pyro-patch",
            "pyro-tree",
        ],
        never: &["pyro-guest", "pyro-api", "hyper", "clap", "indicatif"],
    },
    Place { name: "pyro-api", may_use: &[], never: &["clap", "indicatif", "rustls"] },
    Place {
        name: "pyro",
        may_use: &["pyro-api", "pyro-workspace", "pyro-engine", "pyro-environments", "pyro-patch"],
        never: &["pyro-guest"],
    },
    Place {
        name: "pyro-e2e",
        may_use: &["pyro-api", "pyro-workspace", "pyro-engine", "pyro-environments", "pyro-protocol"],
        never: &[],
    },
    Place {
        name: "pyro-benches",
        may_use: &["pyro-api", "pyro-workspace", "pyro-engine", "pyro-environments", "pyro-protocol"],
        never: &[],
    },
    Place { name: "xtask", may_use: &[], never: &["tokio", "clap"] },
];

/// What cargo knows of this workspace and all it uses, with default features.
pub(crate) fn metadata() -> Result<Value> {
    let mut cargo = checkout::cargo();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &triple]);
    serde_json::from_slice(&step::output("cargo metadata", &mut cargo)?).context("read cargo metadata")
}

/// Compares with the table.
pub(crate) fn check(metadata: &Value) -> Result<()> {
    let names = names(metadata)?;
    let members: BTreeSet<&str> =
        list(&metadata["workspace_members"]).filter_map(|id| names.get(id.as_str()?).copied()).collect();
    let mut faults = Vec::new();
    for member in &members {
        let Some(place) = PLACES.iter().find(|place| place.name == *member) else {
            faults.push(format!("{member} has no place in the table of xtask/src/dependencies.rs"));
            continue;
        };
        let declared = declared(metadata, member);
        for used in declared.iter().filter(|used| members.contains(**used) && !place.may_use.contains(used)) {
            faults.push(format!("{member} must not depend on {used}"));
        }
        for reached in reach(member)?.iter().filter(|reached| place.never.contains(&reached.as_str())) {
            faults.push(format!("{member} must not reach {reached}"));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n  ")) }
}

/// Normal dependencies that a member declares, optional ones included.
fn declared<'a>(metadata: &'a Value, member: &str) -> BTreeSet<&'a str> {
    list(&metadata["packages"])
        .filter(|package| package["name"] == member)
        .flat_map(|package| list(&package["dependencies"]))
        .filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str())
        .collect()
}

/// Everything that a normal build of one member alone links, with its default features. Asked of `cargo tree`, since
/// `cargo metadata` unites the features of all members and of their tests.
fn reach(member: &str) -> Result<BTreeSet<String>> {
    let mut cargo = checkout::cargo();
    cargo.args([
        "tree",
        "--locked",
        "--package",
        member,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
    ]);
    cargo.args(["--format", "{lib}"]);
    let output = step::output("cargo tree", &mut cargo)?;
    // Library names have underscores where package names have dashes.
    Ok(String::from_utf8_lossy(&output).lines().map(|line| line.trim().replace('_', "-")).collect())
}

fn names(metadata: &Value) -> Result<BTreeMap<&str, &str>> {
    list(&metadata["packages"])
        .map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect::<Option<_>>()
        .context("a package without id or name")
}

/// Elements of a JSON array; none of anything else.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_point_down() {
        check(&metadata().unwrap()).unwrap();
    }

    #[test]
    fn a_dependency_that_points_up_is_a_fault() {
        let metadata = serde_json::json!({
            "packages": [
                { "id": "1", "name": "pyro-protocol", "dependencies": [{ "name": "pyro-engine", "kind": null }] },
                { "id": "2", "name": "pyro-engine", "dependencies": [{ "name": "pyro-guest", "kind": "dev" }] },
            ],
            "workspace_members": ["1", "2"],
        });
        let fault = check(&metadata).unwrap_err().to_string();
        assert_eq!(fault, "pyro-protocol must not depend on pyro-engine");
    }
}
