//! What this host must have for environments to be built, each with the command that mends it.

use std::{fs, path::Path};

use crate::{Environments, catalogue::Recipe, disk_space::free_mib};

/// One need and whether it is met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// Stable name, e.g. `mmdebstrap`.
    pub name: &'static str,
    /// Whether it is met.
    pub met: bool,
    /// What was found.
    pub detail: String,
    /// The command that mends it; `None` when it is met or no command can.
    pub mend: Option<String>,
}

impl Requirement {
    fn new(name: &'static str, met: bool, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, met, detail: detail.into(), mend: (!met).then(|| mend.into()) }
    }
}

impl Environments {
    /// Everything that building `recipe` on this host needs. Nothing is started or written.
    pub fn requirements(&self, recipe: &Recipe) -> Vec<Requirement> {
        let mut requirements = vec![self.program("mmdebstrap", "mmdebstrap"), keyring(), self.space(recipe)];
        if !rustix::process::geteuid().is_root() {
            requirements.push(self.program("newuidmap", "uidmap"));
            requirements.push(subordinate_ids("subuid", "/etc/subuid"));
            requirements.push(subordinate_ids("subgid", "/etc/subgid"));
            requirements.push(user_namespaces());
        }
        requirements
    }

    fn program(&self, name: &'static str, package: &str) -> Requirement {
        let found = self.config.find_program(name);
        let detail = found.as_ref().map_or_else(|| "not found".to_owned(), |path| path.display().to_string());
        Requirement::new(name, found.is_some(), detail, format!("sudo apt-get install --yes {package}"))
    }

    fn space(&self, recipe: &Recipe) -> Requirement {
        let (cache, scratch) = (free_mib(&self.platform_dir), free_mib(&self.config.scratch_dir));
        let needed = recipe.build_space_mib;
        let said =
            |free: Option<u64>| free.map_or_else(|| "unknown".to_owned(), |free| format!("{free} MiB"));
        Requirement::new(
            "disk_space",
            [cache, scratch].iter().all(|free| free.is_none_or(|free| free >= needed)),
            format!(
                "{needed} MiB needed; free: {} in {}, {} in {}",
                said(cache),
                self.config.cache_dir.display(),
                said(scratch),
                self.config.scratch_dir.display()
            ),
            "pyro env prune",
        )
    }
}

fn keyring() -> Requirement {
    let path = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
    let detail =
        if path.exists() { path.display().to_string() } else { format!("{} is missing", path.display()) };
    Requirement::new(
        "debian_keyring",
        path.exists(),
        detail,
        "sudo apt-get install --yes debian-archive-keyring",
    )
}

fn subordinate_ids(name: &'static str, file: &str) -> Requirement {
    let uid = rustix::process::getuid().as_raw().to_string();
    let user = user_name(&uid).unwrap_or_else(|| uid.clone());
    let range = largest_range(&fs::read_to_string(file).unwrap_or_default(), &user, &uid);
    Requirement::new(
        name,
        range >= 65_536,
        format!("{range} ids for {user} in {file}"),
        format!("sudo usermod --add-{name}s 100000-165535 {user}"),
    )
}

fn user_name(uid: &str) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

fn largest_range(text: &str, user: &str, uid: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [owner, _, count] = fields.as_slice() else { return None };
            (*owner == user || *owner == uid).then(|| count.trim().parse().unwrap_or(0))
        })
        .max()
        .unwrap_or(0)
}

fn user_namespaces() -> Requirement {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let forbidding = [
        ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=28633"),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let found = forbidding.iter().find(|(path, forbids, _)| setting(path).as_deref() == Some(forbids));
    match found {
        Some((path, value, mend)) => {
            Requirement::new("user_namespaces", false, format!("{path} is {value}"), *mend)
        }
        None => Requirement::new("user_namespaces", true, "allowed", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "alice:100000:65536\n1001:165536:100\nbroken\n";
        assert_eq!(largest_range(text, "alice", "1000"), 65_536);
        assert_eq!(largest_range(text, "bob", "1001"), 100);
        assert_eq!(largest_range(text, "carol", "1002"), 0);
    }
}
