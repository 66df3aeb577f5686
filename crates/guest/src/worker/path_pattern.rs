//! [`PathPattern`] and [`PathPatterns`]: patterns of paths as ripgrep reads them. `*` and `?` stay within a name, `**`
//! crosses directories, `{a,b}` is a choice, `[…]` a class, `\` takes the next character as it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use pyro_protocol::work::WorkFailureCode;

use super::error::{Result, WorkError, quoted};

/// Longest pattern.
pub(crate) const MAX_PATTERN_BYTES: usize = 4096;
/// Most choices in a pattern, which may be nested.
pub(crate) const MAX_CHOICES: usize = 64;
/// Most patterns.
const MAX_PATTERNS: usize = 1_000;

/// One pattern of a path, relative to some directory.
pub(crate) struct PathPattern {
    matcher: GlobMatcher,
    /// Names that a path must begin with.
    fixed: Vec<Vec<u8>>,
    /// Most names a path that matches can have.
    max_names: Option<usize>,
}

impl PathPattern {
    /// Compiles a pattern.
    pub(crate) fn new(pattern: &str) -> Result<Self> {
        let matcher = compile(pattern)?.compile_matcher();
        let special = |byte: &u8| b"*?[]{}\\".contains(byte);
        let names: Vec<_> = pattern.as_bytes().split(|byte| *byte == b'/').collect();
        let literal = names.iter().take_while(|name| !name.iter().any(special)).count();
        // The last name is what is to be found, not a directory on the way.
        let fixed = names[..literal.min(names.len() - 1)].iter().map(|name| name.to_vec()).collect();
        let may_cross = pattern.contains("**") || pattern.contains('{') || pattern.contains('[');
        Ok(Self { matcher, fixed, max_names: (!may_cross).then_some(names.len()) })
    }

    /// Whether a path matches.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.matcher.is_match(OsStr::from_bytes(path))
    }

    /// Whether something in the directory `path` can match.
    pub(crate) fn enters(&self, path: &[u8]) -> bool {
        let mut names = 0;
        for (place, name) in path.split(|byte| *byte == b'/').enumerate() {
            if self.fixed.get(place).is_some_and(|fixed| fixed != name) {
                return false;
            }
            names = place + 1;
        }
        self.max_names.is_none_or(|most| names < most)
    }
}

/// Several patterns of a path of which one is enough. One without a slash is a pattern of the last name alone.
pub(crate) struct PathPatterns(Option<GlobSet>);

impl PathPatterns {
    /// Compiles them; none match everything.
    pub(crate) fn new(patterns: &[String]) -> Result<Self> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        if patterns.len() > MAX_PATTERNS {
            let message = format!("understand more than {MAX_PATTERNS} patterns");
            return Err(WorkError::new(WorkFailureCode::BadPattern, message));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(if pattern.contains('/') {
                compile(pattern)?
            } else {
                compile(&format!("**/{pattern}"))?
            });
        }
        let set = set.build().map_err(|error| bad(&patterns.join(" "), &error))?;
        Ok(Self(Some(set)))
    }

    /// Whether a path matches one of them.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match(OsStr::from_bytes(path)))
    }
}

fn compile(pattern: &str) -> Result<Glob> {
    if pattern.is_empty() {
        return Err(WorkError::new(WorkFailureCode::BadPattern, "understand a pattern that is empty"));
    }
    if !is_bounded(pattern) {
        let message = "understand a pattern of a path that is too long or has too many choices";
        return Err(WorkError::new(WorkFailureCode::BadPattern, message));
    }
    let mut builder = GlobBuilder::new(pattern);
    builder.literal_separator(true).backslash_escape(true);
    builder.build().map_err(|error| bad(pattern, &error))
}

/// Whether compiling a pattern costs no more than is fair.
pub(crate) fn is_bounded(pattern: &str) -> bool {
    pattern.len() <= MAX_PATTERN_BYTES && pattern.bytes().filter(|byte| *byte == b'{').count() <= MAX_CHOICES
}

fn bad(pattern: &str, error: &globset::Error) -> WorkError {
    let message = format!("understand the pattern {}: {}", quoted(pattern.as_bytes()), error.kind());
    WorkError::new(WorkFailureCode::BadPattern, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_a_name_and_two_cross() {
        let pattern = PathPattern::new("src/*.rs").unwrap();
        assert!(pattern.matches(b"src/a.rs") && pattern.matches(b"src/\xff\n.rs"));
        assert!(!pattern.matches(b"src/a/b.rs") && !pattern.matches(b"a.rs"));
        let pattern = PathPattern::new("**/*.rs").unwrap();
        assert!(pattern.matches(b"a.rs") && pattern.matches(b"x/y/a.rs"));
    }

    #[test]
    fn only_directories_that_can_hold_a_match_are_entered() {
        for (pattern, directory, enters) in [
            ("src/*.rs", "src", true),
            ("src/*.rs", "srcs", false),
            ("src/*.rs", "src/a", false),
            ("src/**", "src/a/b", true),
            ("src/**", "lib", false),
            ("**/x", "lib/a", true),
            ("*/x", "lib", true),
            ("*/x", "lib/a", false),
            ("{a/b,c}/x", "a/b", true),
            ("src", "src", false),
        ] {
            assert_eq!(
                PathPattern::new(pattern).unwrap().enters(directory.as_bytes()),
                enters,
                "{pattern} {directory}"
            );
        }
    }

    #[test]
    fn a_pattern_without_a_slash_is_one_of_names() {
        let patterns = PathPatterns::new(&["*.rs".to_owned(), "docs/*".to_owned()]).unwrap();
        assert!(patterns.matches(b"a.rs") && patterns.matches(b"x/a.rs") && patterns.matches(b"docs/a"));
        assert!(!patterns.matches(b"x/docs/a") && !patterns.matches(b"docs/a/b"));
        assert!(PathPatterns::new(&[]).unwrap().matches(b"anything"));
    }

    #[test]
    fn hostile_patterns_are_refused() {
        let nested = "{".repeat(5000);
        for pattern in ["", "[", "{a", nested.as_str(), &"*".repeat(5000)] {
            let refused = PathPattern::new(pattern).err().map(|error| error.code);
            assert_eq!(refused, Some(WorkFailureCode::BadPattern), "{pattern}");
        }
    }
}
