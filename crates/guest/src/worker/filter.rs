//! [`Filter`]: the paths that a request is about.

use pyro_tree::path::RelativePath;

/// Some paths with all below them; or everything.
#[derive(Clone, Debug)]
pub(super) struct Filter(Vec<RelativePath>);

impl Filter {
    /// Of these paths; of everything, if there are none.
    pub(super) fn new(paths: Vec<RelativePath>) -> Self {
        Self(if paths.is_empty() { vec![RelativePath::root()] } else { paths })
    }

    /// Whether it is about `path`.
    pub(super) fn takes(&self, path: &RelativePath) -> bool {
        self.0.iter().any(|wanted| path.below(wanted).is_some())
    }

    /// Whether it is about `path` or about something below.
    pub(super) fn enters(&self, path: &RelativePath) -> bool {
        self.takes(path) || self.0.iter().any(|wanted| wanted.below(path).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> RelativePath {
        if path.is_empty() { RelativePath::root() } else { RelativePath::new(path).unwrap() }
    }

    #[test]
    fn takes_what_is_below_and_enters_what_leads_there() {
        let filter = Filter::new(vec![path("a/b"), path("c")]);
        for (given, takes, enters) in [
            ("", false, true),
            ("a", false, true),
            ("a/b", true, true),
            ("a/b/d", true, true),
            ("a/bc", false, false),
            ("c/d", true, true),
            ("d", false, false),
        ] {
            assert_eq!((filter.takes(&path(given)), filter.enters(&path(given))), (takes, enters), "{given}");
        }
        assert!(Filter::new(Vec::new()).takes(&path("anything")));
    }
}
