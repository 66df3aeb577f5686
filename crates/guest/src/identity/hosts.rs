//! The text of `/etc/hosts`: images may have none, and the machine's own name has to resolve.

const LOCAL_NAMES: [&str; 3] = ["localhost", "ip6-localhost", "ip6-loopback"];
const LOCAL_ADDRESSES: [&str; 2] = ["127.0.0.1", "::1"];

/// The machine's lines for its name `new`, after those of `text` that say more than the lines for its name `old` did.
pub(super) fn renamed(text: &str, old: &str, new: &str) -> String {
    let mut hosts = String::new();
    for line in text.lines().filter(|line| !is_own(line, old)) {
        hosts.push_str(line);
        hosts.push('\n');
    }
    hosts.push_str(&format!("127.0.0.1\tlocalhost {new}\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
    hosts
}

/// Whether a line only names the machine itself.
fn is_own(line: &str, name: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next().is_some_and(|address| LOCAL_ADDRESSES.contains(&address))
        && words.all(|word| word == name || LOCAL_NAMES.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_replaces_the_old_one_alone() {
        let first = renamed("", "", "a");
        assert_eq!(first, "127.0.0.1\tlocalhost a\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        assert_eq!(renamed(&first, "a", "b"), first.replace("localhost a", "localhost b"));
    }

    #[test]
    fn lines_that_say_more_are_kept_in_front() {
        let image = "# ours\n127.0.0.1 localhost\n127.0.0.1 localhost api.test\n10.0.0.7 db";
        let hosts = renamed(image, "", "a");
        assert!(
            hosts.starts_with("# ours\n127.0.0.1 localhost api.test\n10.0.0.7 db\n127.0.0.1\tlocalhost a\n")
        );
        assert_eq!(renamed(&hosts, "a", "a"), hosts);
    }
}
