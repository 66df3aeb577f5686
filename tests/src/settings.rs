//! What is tested and where its warm cache lies.

use std::{
    env,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The environment that nearly every test uses.
pub const ENVIRONMENT: &str = "debian:12";

/// Read once from the test's own environment.
///
/// | variable | meaning | default |
/// | --- | --- | --- |
/// | `PYRO_TEST_PYRO` | the program under test | `pyro` beside this test in the target directory |
/// | `PYRO_TEST_GUEST` | the guest agent | what that `pyro` finds by itself |
/// | `PYRO_TEST_HOME` | warm environments and templates, and the homes of running tests | `e2e-<uid>` in the target directory |
/// | `PYRO_TEST_MACHINES` | homes that may be in use at once | 3 |
#[derive(Debug)]
pub struct Settings {
    /// The program under test.
    pub pyro: PathBuf,
    /// The guest agent, if it is named.
    pub guest: Option<PathBuf>,
    /// Warm environments and templates, and the homes of running tests.
    pub cache: PathBuf,
    /// Homes that may be in use at once.
    pub machines: usize,
}

static SETTINGS: LazyLock<Result<Settings, String>> = LazyLock::new(Settings::read);

impl Settings {
    /// The settings; fails the test if something is missing.
    pub fn get() -> &'static Settings {
        match &*SETTINGS {
            Ok(settings) => settings,
            Err(missing) => panic!("{missing}"),
        }
    }

    fn read() -> Result<Self, String> {
        let test = env::current_exe().map_err(|error| format!("cannot tell where this test is: {error}"))?;
        // <target>/<profile>/deps/<test>
        let profile = test.parent().and_then(Path::parent);
        let target = profile.and_then(Path::parent);
        let beside = || {
            [profile.map(|p| p.join("pyro")), target.map(|t| t.join("release/pyro"))].into_iter().flatten()
        };
        let pyro = match named("PYRO_TEST_PYRO")? {
            Some(pyro) => pyro,
            None => beside().find(|path| path.exists()).ok_or(
                "there is no `pyro` to test: `cargo xtask test` builds it with its guest and runs this suite",
            )?,
        };
        let guest = named("PYRO_TEST_GUEST")?;
        if guest.is_none() && !pyro.with_file_name("pyro-guest").exists() {
            return Err(format!(
                "there is no guest agent beside `{}`: `cargo xtask build` makes it, or PYRO_TEST_GUEST names it",
                pyro.display()
            ));
        }
        let agent = guest.clone().unwrap_or_else(|| pyro.with_file_name("pyro-guest"));
        if !is_static(&agent) {
            return Err(format!(
                "the guest agent `{}` is not static and cannot run in a machine (a plain `cargo build` leaves such a one): \
                 `cargo xtask build` makes the right one",
                agent.display()
            ));
        }
        let uid = rustix::process::getuid().as_raw();
        let cache = match env::var_os("PYRO_TEST_HOME") {
            Some(path) => PathBuf::from(path),
            None => target
                .ok_or("set PYRO_TEST_HOME to a directory for warm environments")?
                .join(format!("e2e-{uid}")),
        };
        let machines = match env::var("PYRO_TEST_MACHINES") {
            Ok(number) => number.parse().map_err(|error| format!("PYRO_TEST_MACHINES={number}: {error}"))?,
            Err(_) => 3,
        };
        Ok(Self { pyro, guest, cache, machines })
    }
}

/// A program that a variable names; it must exist.
fn named(variable: &str) -> Result<Option<PathBuf>, String> {
    match env::var_os(variable).map(PathBuf::from) {
        Some(path) if !path.exists() => Err(format!(
            "{variable} names `{}`, which does not exist; `cargo xtask test` sets it",
            path.display()
        )),
        path => Ok(path),
    }
}

/// Whether a program needs no dynamic loader, whose path would stand near its beginning.
fn is_static(program: &Path) -> bool {
    let head =
        std::fs::read(program).map(|bytes| bytes[..bytes.len().min(4096)].to_vec()).unwrap_or_default();
    !head.is_empty() && !head.windows(4).any(|window| window == b"/ld-")
}
