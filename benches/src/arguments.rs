//! What the bench is told.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::group::Group;

/// The command line, and what stands for what it leaves out.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// JSON instead of a table.
    pub(crate) json: bool,
    /// How often each thing is measured.
    pub(crate) rounds: usize,
    /// The one group to measure, with those that it needs; all if there is none.
    pub(crate) only: Option<Group>,
    /// The `pyro` binary.
    pub(crate) pyro: PathBuf,
    /// The guest agent.
    pub(crate) agent: PathBuf,
    /// QEMU.
    pub(crate) qemu: PathBuf,
    /// The cache of environments.
    pub(crate) cache: PathBuf,
    /// The Python package, with its `measure.py`.
    pub(crate) sdk: PathBuf,
}

impl Arguments {
    /// Reads the words after the program's name. Binaries are looked for beside this one.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.parent().context("this program is nowhere")?;
        let home = std::env::var_os("HOME").map(PathBuf::from).context("HOME is not set")?;
        let mut arguments = Self {
            json: false,
            rounds: 15,
            only: None,
            pyro: beside.join("pyro"),
            agent: beside.join("pyro-guest"),
            qemu: "/usr/bin/qemu-system-x86_64".into(),
            cache: home.join(".cache/pyro/environments"),
            sdk: concat!(env!("CARGO_MANIFEST_DIR"), "/../sdks/python").into(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--json" => arguments.json = true,
                "--rounds" => arguments.rounds = value()?.parse().context("`--rounds` needs a number")?,
                "--only" => arguments.only = Some(value()?.parse()?),
                "--pyro" => arguments.pyro = value()?.into(),
                "--agent" => arguments.agent = value()?.into(),
                "--qemu" => arguments.qemu = value()?.into(),
                "--cache" => arguments.cache = value()?.into(),
                "--sdk" => arguments.sdk = value()?.into(),
                other => bail!(
                    "unknown argument `{other}`; known: --json --rounds N --only GROUP \
                     --pyro --agent --qemu --cache --sdk PATH"
                ),
            }
        }
        Ok(arguments)
    }
}
