//! Programs of others at pinned versions: installed below the build products, and used again as long as nothing about them
//! has changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Says where they are, after installing them unless what is there was installed for the same `wanted`.
pub(crate) fn once(
    directory: PathBuf,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|had| had == wanted) {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("empty {}", directory.display()))?;
    }
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    install(&directory)?;
    // Last, so that an installation that broke off is none.
    fs::write(&installed, wanted).with_context(|| format!("write {}", installed.display()))?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_installed_once() {
        let directory = std::env::temp_dir().join(format!("pyro-installed-{}", std::process::id()));
        let mut count = 0;
        for (wanted, broken, installations) in
            [("a", true, 1), ("a", false, 2), ("a", false, 2), ("b", false, 3)]
        {
            let done = once(directory.clone(), wanted, |place| {
                count += 1;
                anyhow::ensure!(fs::read_dir(place)?.next().is_none(), "what was there is gone");
                fs::write(place.join("half"), "")?;
                anyhow::ensure!(!broken, "broken off");
                Ok(())
            });
            assert_eq!((done.is_err(), count), (broken, installations), "{wanted}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
