//! The environments that this version can build by itself, as recipes.

use serde::Serialize;

use crate::digest::{Digest, sha256_of};

/// Version of the catalogue; shown by `env list`.
pub const CATALOGUE_VERSION: &str = "1";

/// Platform key of every environment of this version.
pub const PLATFORM: &str = "linux/amd64";

/// How to make one environment. Its digest names the installed directory, so any change here is a new build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Recipe {
    /// What users call it.
    pub name: &'static str,
    /// Version of the recipe.
    pub version: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// Packages that users may count on.
    pub default_packages: &'static [&'static str],
    /// Packages that are installed besides, for the machine's sake.
    pub system_packages: &'static [&'static str],
    /// Distribution, lower-case.
    pub distribution: &'static str,
    /// Its version.
    pub distribution_version: &'static str,
    /// Its name for the package manager.
    pub suite: &'static str,
    /// Sections of the archive.
    pub components: &'static [&'static str],
    /// Newer times of files are set back to this one (seconds since 1970), so that equal packages give equal images.
    pub newest_mtime_s: u64,
    /// Free space needed while building, in MiB: unpacked packages, archive and image.
    pub build_space_mib: u64,
    /// Counts changes of the build steps that the other fields do not show.
    pub pipeline: u32,
}

impl Recipe {
    /// Every package by name.
    pub fn packages(&self) -> impl Iterator<Item = &'static str> {
        self.default_packages.iter().chain(self.system_packages).copied()
    }

    /// Digest of everything that decides what is built.
    pub fn digest(&self) -> Digest {
        sha256_of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Bumped whenever the build steps change what they make of the same packages.
const PIPELINE: u32 = 3;

const DEBIAN_12: Recipe = Recipe {
    name: "debian:12",
    version: "1.0.0",
    description: "Debian 12 with Git for common agent work",
    default_packages: &["bash", "coreutils", "git", "ca-certificates"],
    system_packages: &["linux-image-cloud-amd64"],
    distribution: "debian",
    distribution_version: "12",
    suite: "bookworm",
    components: &["main"],
    newest_mtime_s: 1_761_955_200,
    build_space_mib: 1_200,
    pipeline: PIPELINE,
};

const DEBIAN_12_BASE: Recipe = Recipe {
    name: "debian:12-base",
    description: "Minimal Debian 12: a shell and the core tools",
    default_packages: &["bash", "coreutils"],
    build_space_mib: 900,
    ..DEBIAN_12
};

const DEBIAN_12_BUILD: Recipe = Recipe {
    name: "debian:12-build",
    description: "Debian 12 with Git, a C toolchain, CMake and Python",
    default_packages: &["bash", "coreutils", "git", "gcc", "make", "cmake", "python3"],
    system_packages: &["ca-certificates", "libc6-dev", "linux-image-cloud-amd64"],
    build_space_mib: 2_400,
    ..DEBIAN_12
};

/// Every recipe, sorted by name.
pub const CATALOGUE: &[Recipe] = &[DEBIAN_12, DEBIAN_12_BASE, DEBIAN_12_BUILD];

/// The recipe of that name.
pub fn recipe(name: &str) -> Option<&'static Recipe> {
    CATALOGUE.iter().find(|recipe| recipe.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_sorted_distinct_and_carry_a_kernel() {
        assert!(CATALOGUE.is_sorted_by(|a, b| a.name < b.name));
        let digests: std::collections::HashSet<_> = CATALOGUE.iter().map(Recipe::digest).collect();
        assert_eq!(digests.len(), CATALOGUE.len());
        for recipe in CATALOGUE {
            assert!(recipe.packages().any(|package| package == "linux-image-cloud-amd64"), "{}", recipe.name);
            assert!(recipe.default_packages.iter().all(|package| !recipe.system_packages.contains(package)));
        }
    }
}
