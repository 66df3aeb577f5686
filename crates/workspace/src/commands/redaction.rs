//! Keeping secrets out of what is written down about commands.
//!
//! Two things are redacted: every secret that is known as one, wherever it stands, and what stands where secrets
//! usually do. The second is a guess and errs on the side of leaving things readable: only the value of something
//! that is named like a secret, credentials in a URL or a header, and tokens of well-known shapes.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Stands where a secret was.
pub const REDACTED: &str = "[REDACTED]";

/// Shorter ones would redact half of every text.
const SHORTEST_SECRET_BYTES: usize = 4;

/// Takes secrets out of texts.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that one that contains another goes as a whole.
    secrets: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish()
    }
}

impl Redactor {
    /// Knows these secrets. Those of less than four bytes are left out.
    pub fn new(secrets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// The same, and these too.
    #[must_use]
    pub fn with(&self, secrets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut redactor = self.clone();
        redactor.add(secrets);
        redactor
    }

    fn add(&mut self, secrets: impl IntoIterator<Item = Vec<u8>>) {
        let long = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET_BYTES);
        self.secrets.extend(long.map(|secret| String::from_utf8_lossy(&secret).into_owned()));
        self.secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.secrets.dedup();
    }

    /// A line for the shell, for people.
    pub fn shell_line(&self, line: &[u8]) -> String {
        shapes(&self.known(line))
    }

    /// Arguments as a line that a shell would take apart again, for people.
    pub fn argv(&self, argv: &[Vec<u8>]) -> String {
        let mut words = Vec::with_capacity(argv.len());
        let mut value_follows = false;
        for word in argv {
            let word = self.known(word);
            let word = match ASSIGNMENT.captures(&word) {
                _ if value_follows => REDACTED.to_owned(),
                Some(parts) => format!("{}{REDACTED}", &parts[1]),
                None => shapes(&word),
            };
            value_follows = FLAG.is_match(&word);
            words.push(quoted(&word));
        }
        words.join(" ")
    }

    fn known(&self, text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        text
    }
}

/// Whether a variable of that name mostly holds a secret.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    NAME.is_match(&String::from_utf8_lossy(name))
}

/// How names of secrets end.
const ENDING: &str = "(?:password|passwd|passphrase|passcode|secret|token|api[-_]?key|access[-_]?key|secret[-_]?key|private[-_]?key|auth[-_]?key|credentials?)";
/// A value in a shell line, unless it refers to one (`$TOKEN`, `$(cat …)`).
const VALUE: &str = r#"(?:'[^']*'|"(?:[^"\\$]|\\.)*"|[^\s'"$`;|&<>()]+)"#;

#[expect(clippy::unwrap_used, reason = "patterns of this file; each is used by a test")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static NAME: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)^[a-z0-9_.-]*{ENDING}$")));
/// An argument that asks for a secret as the next one.
static FLAG: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)^--?[a-z0-9_.-]*{ENDING}$")));
/// An argument that gives one.
static ASSIGNMENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!("(?is)^((?:--?)?[a-z0-9_.-]*{ENDING}=)[^$].*$")));
/// The same within a line.
static ASSIGNED: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r#"(?i)((?:^|[\s'";&|(])(?:--?)?[a-z0-9_.-]*{ENDING}=){VALUE}"#)));
static FLAGGED: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"(?i)((?:^|\s)--?[a-z0-9_.-]*{ENDING}\s+)({VALUE})")));
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)((?:authorization|proxy-authorization)\s*:\s*(?:[a-z]+\s+)?|(?:x-api-key|x-auth-token|private-token|api-key)\s*:\s*)[^\s'"$]+"#,
    )
});
static BEARER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)(\bbearer\s+)[a-z0-9._~+/=-]{8,}"));
static URL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'"$]*:)[^\s/@'"$]+(@)"#));
/// `curl -u name:password`.
static LOGIN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"((?:^|\s)(?:-u|--user|--proxy-user)[\s=]+['"]?[^\s:'"$]+:)[^\s'"$]+"#));
/// Tokens that are known by how they look.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}",
        r"|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|sk_(?:live|test)_[A-Za-z0-9]{16,}",
        r"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|hf_[A-Za-z0-9]{20,}",
        r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}",
        r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+)",
    ))
});
static PRIVATE_KEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|$)")
});

/// Takes out what looks like a secret.
fn shapes(text: &str) -> String {
    let behind = |parts: &Captures<'_>| format!("{}{REDACTED}", &parts[1]);
    let between = |parts: &Captures<'_>| format!("{}{REDACTED}{}", &parts[1], &parts[2]);
    // A flag's value that begins with a dash is the next flag.
    let behind_flag = |parts: &Captures<'_>| {
        if parts[2].starts_with('-') { parts[0].to_owned() } else { behind(parts) }
    };
    let mut text = PRIVATE_KEY.replace_all(text, between).into_owned();
    text = HEADER.replace_all(&text, behind).into_owned();
    text = BEARER.replace_all(&text, behind).into_owned();
    text = ASSIGNED.replace_all(&text, behind).into_owned();
    text = FLAGGED.replace_all(&text, behind_flag).into_owned();
    text = URL.replace_all(&text, between).into_owned();
    text = LOGIN.replace_all(&text, behind).into_owned();
    TOKEN.replace_all(&text, REDACTED).into_owned()
}

/// A word that a shell reads as it is, quoted if it must be.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-[]".contains(c);
    // Brackets stay bare only in our own mark.
    let bare =
        !word.is_empty() && word.chars().all(plain) && !word.replace(REDACTED, "").contains(['[', ']']);
    if bare { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        Redactor::default().shell_line(text.as_bytes())
    }

    fn argv(words: &[&str]) -> String {
        Redactor::default().argv(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn known_secrets_go_wherever_they_stand() {
        let redactor = Redactor::new([b"hunter2".to_vec(), b"hunter2-and-more".to_vec(), b"abc".to_vec()]);
        assert_eq!(
            redactor.shell_line(b"echo hunter2-and-more|x-hunter2-x abc"),
            "echo [REDACTED]|x-[REDACTED]-x abc"
        );
        assert_eq!(redactor.argv(&[b"echo".to_vec(), b"a hunter2".to_vec()]), "echo 'a [REDACTED]'");
        let more = redactor.with([b"\xff\xfe\xfd\xfc".to_vec()]);
        assert_eq!(more.shell_line(b"x \xff\xfe\xfd\xfc hunter2"), "x [REDACTED] [REDACTED]");
        assert!(!format!("{redactor:?}").contains("hunter2"));
    }

    #[test]
    fn values_of_what_is_named_like_a_secret_go() {
        for (text, redacted) in [
            ("mysql --password=abc -h db", "mysql --password=[REDACTED] -h db"),
            ("tool --api-key 'a b' x", "tool --api-key [REDACTED] x"),
            ("GITHUB_TOKEN=abc make", "GITHUB_TOKEN=[REDACTED] make"),
            ("export DB_PASSWORD=\"a b\"; run", "export DB_PASSWORD=[REDACTED]; run"),
            ("env AWS_SECRET_ACCESS_KEY=x y", "env AWS_SECRET_ACCESS_KEY=[REDACTED] y"),
            ("curl -H 'Authorization: Bearer abc.def' u", "curl -H 'Authorization: Bearer [REDACTED]' u"),
            ("curl -H \"X-Api-Key: abc\" u", "curl -H \"X-Api-Key: [REDACTED]\" u"),
            ("curl -u me:secret u", "curl -u me:[REDACTED] u"),
            ("git clone https://me:pass@host/x.git", "git clone https://me:[REDACTED]@host/x.git"),
            ("echo ghp_abcdefghijklmnopqrstuvwxyz0123", "echo [REDACTED]"),
            ("a AKIAABCDEFGHIJKLMNOP b", "a [REDACTED] b"),
            (
                "echo '-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----' > k",
                "echo '-----BEGIN RSA PRIVATE KEY-----[REDACTED]-----END RSA PRIVATE KEY-----' > k",
            ),
        ] {
            assert_eq!(line(text), redacted);
        }
    }

    #[test]
    fn arguments_are_redacted_as_they_are_not_as_they_are_quoted() {
        assert_eq!(argv(&["tool", "--password", "it's a 'b", "x"]), "tool --password [REDACTED] x");
        assert_eq!(argv(&["tool", "--password=a b\nc", "x"]), "tool --password=[REDACTED] x");
        assert_eq!(
            argv(&["env", "TOKEN=a b", "sh", "-c", "echo $TOKEN"]),
            "env TOKEN=[REDACTED] sh -c 'echo $TOKEN'"
        );
        assert_eq!(
            argv(&["git", "fetch", "https://a:b@h/"]),
            "git fetch 'https://a:[REDACTED]@h/'".replace('\'', "")
        );
        assert_eq!(argv(&["printf", "", "a'b", "[x]"]), r"printf '' 'a'\''b' '[x]'");
    }

    #[test]
    fn what_only_looks_a_little_like_one_stays() {
        for text in [
            "git commit -m 'rotate the token'",
            "pytest tests/test_token.py -k password",
            "TOKEN=$OTHER make",
            "deploy --token \"$TOKEN\" --verbose",
            "deploy --token-file=/run/x",
            "tokenize --password --verbose",
            "curl https://host:8080/a@b",
            "rsync user@host:/path .",
            "echo sk-short bearer of news",
            "TOKENS=5 ./run",
            "ssh-keygen -t ed25519",
        ] {
            assert_eq!(line(text), text);
        }
    }

    #[test]
    fn names_of_variables() {
        for name in ["GITHUB_TOKEN", "password", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"] {
            assert!(is_secret_name(name.as_bytes()), "{name}");
        }
        for name in ["PATH", "TOKENS", "SECRET_SANTA", "KEYBOARD"] {
            assert!(!is_secret_name(name.as_bytes()), "{name}");
        }
    }
}
