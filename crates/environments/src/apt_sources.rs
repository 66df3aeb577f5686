//! The host's own package sources, when they are of the wanted suite.
//!
//! A host behind a mirror can reach only that mirror. Third-party sources that happen to carry the suite's name
//! are left out: only entries signed with the distribution's keyring (or the default one) are taken.

use std::{fs, path::Path};

/// One-line entries for the builder; empty when the host has none of this suite.
pub(crate) fn of_host(etc_apt: &Path, suite: &str) -> Vec<String> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let entries: Vec<String> = files
        .iter()
        .filter_map(|file| Some((file.extension()?.to_str()?.to_owned(), fs::read_to_string(file).ok()?)))
        .flat_map(|(extension, text)| match extension.as_str() {
            "list" => from_one_line(&text, suite),
            "sources" => from_deb822(&text, suite),
            _ => Vec::new(),
        })
        .collect();
    let has_main_suite = entries.iter().any(|entry| entry.split_whitespace().any(|word| word == suite));
    if has_main_suite { entries } else { Vec::new() }
}

fn from_one_line(text: &str, suite: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
            let (options, rest) = match rest.strip_prefix('[') {
                Some(rest) => rest.split_once(']')?,
                None => ("", rest),
            };
            let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            let mut words = rest.split_whitespace();
            let (uri, named) = (words.next()?, words.next()?);
            entry(uri, named, &words.collect::<Vec<_>>(), signed_by, suite)
        })
        .collect()
}

fn from_deb822(text: &str, suite: &str) -> Vec<String> {
    let mut entries = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let is_binary =
            field("Types").is_some_and(|types| types.split_whitespace().any(|word| word == "deb"));
        let is_disabled = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        if !is_binary || is_disabled {
            continue;
        }
        let components: Vec<_> = field("Components").unwrap_or_default().split_whitespace().collect();
        for uri in field("URIs").unwrap_or_default().split_whitespace() {
            for named in field("Suites").unwrap_or_default().split_whitespace() {
                entries.extend(entry(uri, named, &components, field("Signed-By"), suite));
            }
        }
    }
    entries
}

/// The entry in one line, if it is the distribution's and of this suite.
fn entry(
    uri: &str,
    named: &str,
    components: &[&str],
    signed_by: Option<&str>,
    suite: &str,
) -> Option<String> {
    const DISTRIBUTION_KEYRING: &str = "/usr/share/keyrings/debian-archive-";
    let same_suite = [suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")]
        .iter()
        .any(|known| known == named);
    let signed_by_distribution = signed_by.is_none_or(|path| path.starts_with(DISTRIBUTION_KEYRING));
    let options = signed_by.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
    (same_suite && signed_by_distribution && components.contains(&"main"))
        .then(|| format!("deb {options}{uri} {named} main"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        of_host(directory.path(), "bookworm")
    }

    #[test]
    fn takes_the_distributions_entries_in_both_formats() {
        let old = "# c\ndeb http://mirror.example/debian bookworm main contrib\ndeb-src http://m bookworm main\n\
                   deb [arch=amd64] http://mirror.example/security bookworm-security main\n";
        assert_eq!(
            host(&[("sources.list", old)]),
            [
                "deb http://mirror.example/debian bookworm main",
                "deb http://mirror.example/security bookworm-security main"
            ]
        );
        let new = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                   Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        assert_eq!(host(&[("sources.list.d/debian.sources", new)]).len(), 2);
    }

    #[test]
    fn leaves_out_strangers_other_suites_and_disabled_ones() {
        let stranger = "deb [signed-by=/etc/apt/keyrings/x.gpg] http://x.example bookworm main\n";
        assert!(host(&[("sources.list.d/x.list", stranger)]).is_empty());
        assert!(host(&[("sources.list", "deb http://m.example/ubuntu noble main\n")]).is_empty());
        assert!(host(&[("sources.list", "deb http://m.example/debian bookworm-updates main\n")]).is_empty());
        assert!(
            host(&[(
                "sources.list.d/d.sources",
                "Types: deb\nEnabled: no\nURIs: http://m\nSuites: bookworm\nComponents: main\n"
            )])
            .is_empty()
        );
    }
}
