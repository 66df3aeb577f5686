//! The project that the model works on: a package whose tests fail, as it stands in `examples/projects`.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use pyro_api::{ErrorBody, ErrorCode};

/// What runs its tests, without leaving anything behind.
pub(super) const TEST: &str = "python3 -B -m unittest";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../../examples/projects/python-package/", $name)))),+]
    };
}

const FILES: &[(&str, &str)] = files![
    "README.md",
    "pyproject.toml",
    "opening_hours/__init__.py",
    "opening_hours/intervals.py",
    "tests/__init__.py",
    "tests/test_intervals.py",
];

/// A copy of it on the host, gone when it is dropped.
#[derive(Debug)]
pub(super) struct Project(PathBuf);

impl Project {
    /// Writes it into a new directory, which is nobody else's.
    pub(super) fn write() -> Result<Self, ErrorBody> {
        let place = std::env::temp_dir().join(format!("pyro-demo-{}", std::process::id()));
        let failed = |error: std::io::Error| {
            ErrorBody::new(
                ErrorCode::FileFailed,
                format!("cannot write the project to {}: {error}", place.display()),
            )
        };
        // Fails on one that is there, so that it cannot have been prepared.
        DirBuilder::new().mode(0o700).create(&place).map_err(failed)?;
        let project = Self(place.clone());
        for (name, content) in FILES {
            let file = place.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&place)).map_err(failed)?;
            fs::write(file, content).map_err(failed)?;
        }
        Ok(project)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // What stays in a directory for temporary files does no harm.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_and_goes() {
        let project = Project::write().unwrap();
        let place = project.path().to_owned();
        assert!(place.join("tests/test_intervals.py").is_file());
        drop(project);
        assert!(!place.exists());
    }

    #[test]
    fn nothing_of_the_example_is_left_out() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/projects/python-package");
        let mut there = Vec::new();
        let mut directories = vec![example.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let name = path.strip_prefix(&example).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() && !name.ends_with("__pycache__") {
                    directories.push(path);
                } else if path.is_file() && name != ".gitignore" {
                    there.push(name);
                }
            }
        }
        there.sort();
        let mut ours: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        ours.sort_unstable();
        assert_eq!(there, ours);
    }
}
