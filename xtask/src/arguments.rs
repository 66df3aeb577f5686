//! The words after the task's name.

use anyhow::{Result, bail};

/// What has not been taken yet.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    /// Takes words as they were given.
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    /// Takes a flag; says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() != before
    }

    /// Takes `NAME VALUE` or `NAME=VALUE`.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>> {
        let prefix = format!("{name}=");
        let Some(at) = self.0.iter().position(|word| word == name || word.starts_with(&prefix)) else {
            return Ok(None);
        };
        let word = self.0.remove(at);
        if let Some(value) = word.strip_prefix(&prefix) {
            return Ok(Some(value.to_owned()));
        }
        if at == self.0.len() {
            bail!("`{name}` needs a value");
        }
        Ok(Some(self.0.remove(at)))
    }

    /// Takes everything that is left, flags included.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// Takes everything that is left; none of it may look like a flag.
    pub(crate) fn names(self) -> Result<Vec<String>> {
        match self.0.iter().find(|word| word.starts_with('-')) {
            Some(word) => bail!("unknown option `{word}`"),
            None => Ok(self.0),
        }
    }

    /// Ends: nothing may be left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            Some(word) => bail!("unknown argument `{word}`"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Arguments {
        Arguments::new(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn flags_and_options_are_taken_in_any_position() {
        let mut arguments = given("a --account joe --release b --seconds=5");
        assert!(arguments.flag("--release") && !arguments.flag("--release"));
        assert_eq!(arguments.option("--account").unwrap().as_deref(), Some("joe"));
        assert_eq!(arguments.option("--seconds").unwrap().as_deref(), Some("5"));
        assert_eq!(arguments.names().unwrap(), ["a", "b"]);
    }

    #[test]
    fn what_is_left_over_is_refused() {
        assert!(given("--account").option("--account").is_err());
        assert!(given("--acount joe").names().is_err());
        assert!(given("x").finish().is_err());
    }
}
