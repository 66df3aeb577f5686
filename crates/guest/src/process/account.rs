//! Accounts of the guest, read from its own `/etc/passwd` and `/etc/group`: a static program has no name service.

use crate::plain_file;

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name; the number where there is none.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one included.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl Account {
    /// Finds an account by name or number; empty is root. A number without an entry is an account of its own with a
    /// group of the same number, as container images expect. None for an unknown name.
    pub fn find(user: &str) -> Option<Self> {
        Self::find_in(user, &plain_file::text("/etc/passwd"), &plain_file::text("/etc/group"))
    }

    fn find_in(user: &str, passwd: &str, group: &str) -> Option<Self> {
        let user = if user.is_empty() { "0" } else { user };
        let number: Option<u32> = user.parse().ok();
        let entries = || passwd.lines().filter_map(Self::from_entry);
        let found = entries().find(|account| account.name == user);
        let found = found.or_else(|| entries().find(|account| Some(account.uid) == number));
        let mut account = found.or_else(|| number.map(Self::without_entry))?;
        account.groups = groups_of(&account.name, account.gid, group);
        Some(account)
    }

    /// `name:password:uid:gid:comment:home:shell`
    fn from_entry(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("/").to_owned();
        let shell = fields.next().filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh").to_owned();
        Some(Self { name, uid, gid, groups: Vec::new(), home, shell })
    }

    fn without_entry(uid: u32) -> Self {
        let home = if uid == 0 { "/root" } else { "/" };
        let name = if uid == 0 { "root".to_owned() } else { uid.to_string() };
        Self { name, uid, gid: uid, groups: Vec::new(), home: home.to_owned(), shell: "/bin/sh".to_owned() }
    }
}

/// The primary group and those of `/etc/group` (`name:password:gid:member,member`) that list the account.
fn groups_of(name: &str, primary: u32, group: &str) -> Vec<u32> {
    let mut groups = vec![primary];
    for line in group.lines() {
        let mut fields = line.split(':').skip(2);
        let (Some(gid), Some(members)) = (fields.next().and_then(|gid| gid.parse().ok()), fields.next())
        else {
            continue;
        };
        if members.split(',').any(|member| member == name) && !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nann:x:1000:1000:Ann,,,:/home/ann:\n7:x:70:70::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nann:x:1000:\nsudo:x:27:bob,ann\nvideo:x:44:annette\n";

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let ann = Account::find_in("ann", PASSWD, GROUP).unwrap();
        assert_eq!(ann.groups, [1000, 27]);
        assert_eq!((ann.home.as_str(), ann.shell.as_str()), ("/home/ann", "/bin/sh"));
        assert_eq!(Account::find_in("1000", PASSWD, GROUP), Some(ann));
    }

    #[test]
    fn a_name_that_looks_like_a_number_is_a_name_first() {
        assert_eq!(Account::find_in("7", PASSWD, GROUP).unwrap().uid, 70);
    }

    #[test]
    fn empty_is_root_even_without_any_entry() {
        let root = Account::find_in("", "", "").unwrap();
        assert_eq!((root.name.as_str(), root.uid, root.home.as_str()), ("root", 0, "/root"));
    }

    #[test]
    fn an_unknown_number_is_an_account_and_an_unknown_name_is_none() {
        assert_eq!(Account::find_in("4242", PASSWD, GROUP).unwrap().gid, 4242);
        assert_eq!(Account::find_in("nobody-here", PASSWD, GROUP), None);
    }
}
