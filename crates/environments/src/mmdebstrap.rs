//! Debian root file systems by `mmdebstrap`: its command line, and its output as progress.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    Cancellation, EnvironmentsConfig, Error, PackageSources, Phase, Result, apt_sources,
    builder_process::{self, Event},
    catalogue::Recipe,
    digest::sha256_of,
    progress::Reporter,
};

/// Share of a whole pull that mmdebstrap takes.
pub(crate) const SHARE: f64 = 0.9;
const LOG_TAIL_LINES: usize = 12;

/// Not installed: what a machine without people and pagers never reads.
const EXCLUDED: &[&str] = &[
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
];

/// Leaves nothing of the building host in the image: neither its mirror nor its name nor its resolver. And names
/// the machine's own address, which an installed Debian gets from its installer and not from a package.
const FORGET_HOST: &str = r#"set -eu
printf '%s\n' "deb http://deb.debian.org/debian SUITE COMPONENTS" "deb http://deb.debian.org/debian SUITE-updates COMPONENTS" "deb http://deb.debian.org/debian-security SUITE-security COMPONENTS" > "$1/etc/apt/sources.list"
echo pyro > "$1/etc/hostname"
: > "$1/etc/resolv.conf"
[ -e "$1/etc/hosts" ] || printf '%s\n' "127.0.0.1 localhost" "::1 localhost ip6-localhost ip6-loopback" > "$1/etc/hosts"
rm -f "$1"/boot/initrd.img-* "$1"/var/cache/debconf/*-old "$1"/var/cache/ldconfig/aux-cache"#;

/// Takes two programs out of root's login: `id`, for what the shell can tell by itself, and `mesg`, for a terminal that nobody has.
/// Every command line of a tool runs in a login shell, and emulated, a program that is started for the first time takes some 0.2 s.
const QUICK_LOGIN: &str = r#"set -eu
[ ! -e "$1/etc/profile" ] || sed -i 's|\[ "$(id -u)" -eq 0 \]|[ -w /etc ]|' "$1/etc/profile"
[ ! -e "$1/root/.profile" ] || sed -i '/^mesg n/d' "$1/root/.profile""#;

/// Builds the root of `recipe` into the archive `output`.
pub(crate) fn write_archive(
    recipe: &Recipe,
    config: &EnvironmentsConfig,
    output: &File,
    cancel: &Cancellation,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    let scratch = Scratch::make(config, recipe)?;
    let program = config.find_program("mmdebstrap").ok_or_else(|| Error::MissingTool {
        tool: "mmdebstrap".to_owned(),
        mend: "apt-get install --yes mmdebstrap uidmap debian-archive-keyring".to_owned(),
    })?;
    let sources = match &config.package_sources {
        PackageSources::Given(sources) => sources.clone(),
        PackageSources::HostOrDistribution => apt_sources::of_host(Path::new("/etc/apt"), recipe.suite),
    };
    let is_root = rustix::process::geteuid().is_root();
    let arguments = command_line(&program, recipe, &sources, is_root);
    let environment = environment(config, recipe, &scratch.path);
    let mut meter = Meter::default();
    let outcome = builder_process::run(&arguments, &environment, output, cancel, &mut |event| match event {
        Event::Line(line) => {
            tracing::debug!(target: "mmdebstrap", "{line}");
            meter.hear(line);
            reporter.report(meter.phase(), meter.fraction() * SHARE, &meter.detail);
        }
        Event::Tick => {
            let archived_mib = output.metadata().map_or(0, |metadata| metadata.len() >> 20);
            meter.hear_archived(archived_mib, recipe);
            reporter.report(meter.phase(), meter.fraction() * SHARE, &meter.detail);
        }
    });
    scratch.remove(&program);
    let outcome = outcome?;
    if outcome.status.success() {
        return Ok(());
    }
    if outcome.log.iter().any(|line| line.contains("No space left on device")) {
        return Err(Error::DiskFull { path: config.scratch_dir.clone(), shortage: None });
    }
    let telling: Vec<_> = outcome.log.iter().filter(|line| !line.is_empty()).cloned().collect();
    Err(Error::BuildFailed {
        name: recipe.name.to_owned(),
        stage: meter.stage().doing.to_owned(),
        log_tail: telling[telling.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"),
    })
}

fn command_line(program: &Path, recipe: &Recipe, sources: &[String], is_root: bool) -> Vec<OsString> {
    let forget_host =
        FORGET_HOST.replace("SUITE", recipe.suite).replace("COMPONENTS", &recipe.components.join(" "));
    let packages: Vec<_> = recipe.packages().collect();
    let mut arguments = vec![
        program.into(),
        format!("--mode={}", if is_root { "root" } else { "unshare" }).into(),
        "--format=tar".into(),
        "--verbose".into(),
        "--variant=minbase".into(),
        "--architectures=amd64".into(),
        format!("--components={}", recipe.components.join(",")).into(),
        format!("--include={}", packages.join(",")).into(),
        r#"--aptopt=Acquire::Languages "none""#.into(),
        r#"--aptopt=Acquire::Retries "3""#.into(),
        r#"--aptopt=Dpkg::Use-Pty "false""#.into(),
    ];
    arguments.extend(EXCLUDED.iter().map(|rule| OsString::from(format!("--dpkgopt={rule}"))));
    arguments.push(format!("--customize-hook={forget_host}").into());
    arguments.push(format!("--customize-hook={QUICK_LOGIN}").into());
    arguments.push(recipe.suite.into());
    arguments.push("-".into());
    arguments.extend(sources.iter().map(OsString::from));
    arguments
}

fn environment(config: &EnvironmentsConfig, recipe: &Recipe, scratch: &Path) -> Vec<(OsString, OsString)> {
    let path =
        std::env::join_paths(&config.program_path).unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let mut environment = vec![
        ("PATH".into(), path),
        ("HOME".into(), "/".into()),
        ("LC_ALL".into(), "C.UTF-8".into()),
        ("DEBIAN_FRONTEND".into(), "noninteractive".into()),
        ("TMPDIR".into(), scratch.into()),
        ("SOURCE_DATE_EPOCH".into(), recipe.newest_mtime_s.to_string().into()),
        // The distribution's own initramfs is never booted and takes long to make.
        ("INITRD".into(), "No".into()),
    ];
    environment.extend(config.builder_environment.iter().cloned());
    environment
}

/// Removes what a killed builder of `recipe` left outside the cache. The caller holds the lock of its name.
pub(crate) fn remove_leftover(config: &EnvironmentsConfig, recipe: &Recipe) {
    Scratch::of(config, recipe).remove_leftover(config);
}

/// Where packages are unpacked. One per cache and recipe, so that what a killed builder left is found again.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn of(config: &EnvironmentsConfig, recipe: &Recipe) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let key = sha256_of(format!("{}\n{}", config.cache_dir.display(), recipe.name).as_bytes());
        Self { path: config.scratch_dir.join(format!("pyro-build-{uid}-{}", key.short())) }
    }

    fn make(config: &EnvironmentsConfig, recipe: &Recipe) -> Result<Self> {
        let scratch = Self::of(config, recipe);
        scratch.remove_leftover(config);
        DirBuilder::new().mode(0o711).create(&scratch.path).map_err(Error::io("create", &scratch.path))?;
        // Subordinate uids must pass whatever the umask says.
        fs::set_permissions(&scratch.path, fs::Permissions::from_mode(0o711))
            .map_err(Error::io("open up", &scratch.path))?;
        Ok(scratch)
    }

    /// Removes what a killed builder of ours left; a stranger's directory of that name stays.
    fn remove_leftover(&self, config: &EnvironmentsConfig) {
        let uid = rustix::process::geteuid().as_raw();
        if self.path.symlink_metadata().is_ok_and(|metadata| metadata.uid() == uid && metadata.is_dir()) {
            self.remove(&config.find_program("mmdebstrap").unwrap_or_default());
        }
    }

    /// Removes it; what belongs to subordinate uids by the builder's own helper. Failing is no reason to fail.
    fn remove(&self, mmdebstrap: &Path) {
        if fs::remove_dir_all(&self.path).is_ok() {
            return;
        }
        if let Ok(entries) = fs::read_dir(&self.path)
            && !rustix::process::geteuid().is_root()
        {
            let leftovers: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            let removed = std::process::Command::new(mmdebstrap)
                .args(["--unshare-helper", "rm", "-rf", "--one-file-system", "--"])
                .args(leftovers)
                .output();
            tracing::debug!(?removed, "removed what belonged to subordinate uids");
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a scratch directory is left");
        }
    }
}

/// One stage of mmdebstrap, by the line that announces it.
struct Stage {
    announced_by: &'static str,
    doing: &'static str,
    phase: Phase,
    /// Share of the whole at which it starts, as measured.
    starts_at: f64,
}

const STAGES: &[Stage] = &[
    Stage { announced_by: "", doing: "starting", phase: Phase::Starting, starts_at: 0.0 },
    Stage {
        announced_by: "running apt-get update",
        doing: "fetching package lists",
        phase: Phase::Downloading,
        starts_at: 0.01,
    },
    Stage {
        announced_by: "downloading packages",
        doing: "downloading packages",
        phase: Phase::Downloading,
        starts_at: 0.06,
    },
    Stage {
        announced_by: "extracting archives",
        doing: "extracting packages",
        phase: Phase::Installing,
        starts_at: 0.14,
    },
    Stage {
        announced_by: "installing essential packages",
        doing: "installing essential packages",
        phase: Phase::Installing,
        starts_at: 0.2,
    },
    Stage {
        announced_by: "installing remaining packages",
        doing: "installing packages",
        phase: Phase::Installing,
        starts_at: 0.45,
    },
    Stage {
        announced_by: "cleaning package lists",
        doing: "cleaning up",
        phase: Phase::Installing,
        starts_at: 0.93,
    },
    Stage { announced_by: "creating tarball", doing: "archiving", phase: Phase::Archiving, starts_at: 0.95 },
];

/// Turns lines into a share of the whole.
#[derive(Default)]
struct Meter {
    stage: usize,
    packages: f64,
    steps: f64,
    detail: String,
}

impl Meter {
    fn hear(&mut self, line: &str) {
        if let Some(announced) = line.strip_prefix("I: ")
            && let Some(stage) =
                STAGES.iter().skip(1).position(|stage| announced.starts_with(stage.announced_by))
        {
            self.stage = stage + 1;
            self.steps = 0.0;
            self.detail = STAGES[self.stage].doing.to_owned();
            return;
        }
        if let Some((_, count)) = line.split_once(" upgraded, ")
            && let Some(count) = count.split(' ').next().and_then(|count| count.parse().ok())
        {
            self.packages = count;
            self.steps = 0.0;
        }
        let words: Vec<_> = line.split_whitespace().take(5).collect();
        let package = match words.as_slice() {
            [get, _, _, _, package] if get.starts_with("Get:") => package,
            ["Unpacking", package, ..] | ["Setting", "up", package, ..] => package,
            _ => return,
        };
        self.steps += 1.0;
        self.detail = package.split(':').next().unwrap_or_default().to_owned();
    }

    fn hear_archived(&mut self, archived_mib: u64, recipe: &Recipe) {
        if STAGES[self.stage].phase == Phase::Archiving {
            self.packages = recipe.build_space_mib as f64 / 3.0;
            self.steps = archived_mib as f64 * 3.0;
            self.detail = format!("{archived_mib} MiB");
        }
    }

    fn stage(&self) -> &'static Stage {
        &STAGES[self.stage]
    }

    fn phase(&self) -> Phase {
        let downloads = self.steps > 0.0 && self.steps <= self.packages;
        if self.stage().announced_by.starts_with("installing remaining") && downloads {
            return Phase::Downloading;
        }
        self.stage().phase
    }

    fn fraction(&self) -> f64 {
        let start = self.stage().starts_at;
        let end = STAGES.get(self.stage + 1).map_or(1.0, |next| next.starts_at);
        // A package is fetched, unpacked and set up: three steps.
        let within = if self.packages > 0.0 { (self.steps / (self.packages * 3.0)).min(1.0) } else { 0.0 };
        start + (end - start) * within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::recipe;

    #[test]
    fn the_command_names_packages_sources_and_mode() {
        let recipe = recipe("debian:12").unwrap();
        let words = command_line(
            Path::new("/usr/bin/mmdebstrap"),
            recipe,
            &["deb http://m bookworm main".into()],
            false,
        );
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words[..2], ["/usr/bin/mmdebstrap", "--mode=unshare"]);
        assert!(words.contains(&"--include=bash,coreutils,git,ca-certificates,linux-image-cloud-amd64"));
        assert_eq!(words[words.len() - 3..], ["bookworm", "-", "deb http://m bookworm main"]);
        let root = command_line(Path::new("m"), recipe, &[], true);
        assert_eq!(root[1], "--mode=root");
        assert_eq!(root.last().unwrap(), "-");
    }

    #[test]
    fn the_hook_names_the_machine_itself_and_keeps_what_packages_brought() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/apt")).unwrap();
        let hosts = root.path().join("etc/hosts");
        let run =
            || std::process::Command::new("sh").args(["-c", FORGET_HOST, "sh"]).arg(root.path()).status();
        assert!(run().unwrap().success());
        let written = fs::read_to_string(&hosts).unwrap();
        assert_eq!(written, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        fs::write(&hosts, "10.0.0.1 mine\n").unwrap();
        assert!(run().unwrap().success());
        assert_eq!(fs::read_to_string(&hosts).unwrap(), "10.0.0.1 mine\n");
    }

    #[test]
    fn a_login_starts_no_program_and_means_the_same() {
        let root = tempfile::tempdir().unwrap();
        let run =
            || std::process::Command::new("sh").args(["-c", QUICK_LOGIN, "sh"]).arg(root.path()).status();
        assert!(run().unwrap().success(), "an image without the files");
        let (all, own) = (root.path().join("etc/profile"), root.path().join("root/.profile"));
        for file in [&all, &own] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        // As the distribution has them.
        let profile =
            "if [ \"$(id -u)\" -eq 0 ]; then\n  PATH=\"/root\"\nelse\n  PATH=\"/user\"\nfi\nexport PATH\n";
        fs::write(&all, profile).unwrap();
        fs::write(&own, "if [ \"$BASH\" ]; then\n  :\nfi\n\nmesg n 2> /dev/null || true\n").unwrap();
        assert!(run().unwrap().success());
        assert_eq!(fs::read_to_string(&own).unwrap(), "if [ \"$BASH\" ]; then\n  :\nfi\n\n");
        let changed = fs::read_to_string(&all).unwrap();
        assert_eq!(changed, profile.replace("\"$(id -u)\" -eq 0", "-w /etc"));
        // For root and for others it means what it meant.
        let path = |script: &str| {
            let shell =
                std::process::Command::new("/bin/sh").args(["-c", &format!("{script}; echo $PATH")]).output();
            String::from_utf8(shell.unwrap().stdout).unwrap()
        };
        assert_eq!(path(&changed), path(&profile.replace("$(id -u)", "$(/usr/bin/id -u)")));
    }

    #[test]
    fn the_meter_only_moves_forward() {
        let log = [
            "I: running apt-get update...",
            "Get:1 http://m bookworm InRelease [34 kB]",
            "I: downloading packages with apt...",
            "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
            "Get:1 http://m bookworm/main amd64 liblzma5 amd64 5.4.1 [206 kB]",
            "I: extracting archives...",
            "I: installing essential packages...",
            "Unpacking libc6:amd64 (2.36) ...",
            "Setting up libc6:amd64 (2.36) ...",
            "I: installing remaining packages inside the chroot...",
            "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.",
            "Get:1 http://m bookworm/main amd64 git amd64 2.39 [7 MB]",
            "Unpacking git (1:2.39.5) ...",
            "Setting up git (1:2.39.5) ...",
            "I: cleaning package lists and apt cache...",
            "I: creating tarball...",
        ];
        let mut meter = Meter::default();
        let mut last = 0.0;
        for line in log {
            meter.hear(line);
            assert!(meter.fraction() >= last, "{line}");
            last = meter.fraction();
            if line.starts_with("Setting up git") {
                assert_eq!(meter.detail, "git");
                assert!((meter.fraction() - 0.93).abs() < 1e-9);
            }
        }
        assert_eq!(meter.phase(), Phase::Archiving);
    }
}
