//! Writes the seeds of the fuzz targets as files, one directory for each target: `fuzz_seeds DIRECTORY`.

use std::{fs, io, path::PathBuf};

#[path = "../tests/hostile/entry.rs"]
#[expect(dead_code, reason = "only the seeds are used here, the entry points by the test and the fuzzer")]
mod entry;

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("name the directory to write to"))?;
    for (number, (target, seed)) in entry::seeds().into_iter().enumerate() {
        let corpus = directory.join(target);
        fs::create_dir_all(&corpus)?;
        fs::write(corpus.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
