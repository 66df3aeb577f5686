//! Whole merges on real directories: one stands for the guest, whose changes are found by comparing it with the base.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use proptest::prelude::*;
use pyro_protocol::work::EntryKind;
use pyro_tree::{
    Root,
    archive::Writer,
    pack::Packer,
    transaction::{STAGING_NAME, Trust},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{plan::plan, *};

/// Nobody pulls the plug.
const DURABILITY: Durability = Durability::Process;

/// Nobody forges journals; the whole way with its seal is walked in `files::loopback`.
const TRUST: Trust<'static> = Trust::Owner;

/// What a test puts at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    File { content: String, is_executable: bool },
    Link(String),
    Directory,
}

/// By path; directories above are implied.
type Tree = BTreeMap<String, Node>;

fn file(content: &str) -> Node {
    Node::File { content: content.to_owned(), is_executable: false }
}

fn tree<const N: usize>(nodes: [(&str, Node); N]) -> Tree {
    with_parents(nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect())
}

/// Adds directories on the way, and drops what lies below something else.
fn with_parents(mut tree: Tree) -> Tree {
    let paths: Vec<_> = tree.keys().cloned().collect();
    for path in paths {
        let above: Vec<_> = path.match_indices('/').map(|(slash, _)| path[..slash].to_owned()).collect();
        if above.iter().any(|above| tree.get(above).is_some_and(|node| *node != Node::Directory)) {
            tree.remove(&path);
            continue;
        }
        for above in above {
            tree.insert(above, Node::Directory);
        }
    }
    tree
}

fn make(tree: &Tree, root: &Path) {
    for (path, node) in tree {
        let path = root.join(path);
        match node {
            Node::Directory => fs::create_dir(path).unwrap(),
            Node::Link(target) => symlink(target, path).unwrap(),
            Node::File { content, is_executable } => {
                fs::write(&path, content).unwrap();
                let mode = if *is_executable { 0o755 } else { 0o644 };
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}

fn read(root: &Path) -> Tree {
    let (mut tree, mut pending) = (Tree::new(), vec![root.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let node = if about.is_dir() {
                pending.push(path.clone());
                Node::Directory
            } else if about.is_symlink() {
                Node::Link(fs::read_link(&path).unwrap().into_os_string().into_string().unwrap())
            } else {
                let is_executable = about.mode() & 0o100 != 0;
                Node::File { content: fs::read_to_string(&path).unwrap(), is_executable }
            };
            tree.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), node);
        }
    }
    tree
}

fn entry(path: &str, node: &Node) -> Entry {
    let path = path.as_bytes().to_vec();
    match node {
        Node::Directory => Entry { path, kind: EntryKind::Directory.into(), mode: 0o755, ..Entry::default() },
        Node::Link(target) => Entry {
            path,
            kind: EntryKind::Symlink.into(),
            mode: 0o777,
            link_target: target.as_bytes().to_vec(),
            ..Entry::default()
        },
        Node::File { content, is_executable } => Entry {
            path,
            kind: EntryKind::File.into(),
            mode: if *is_executable { 0o755 } else { 0o644 },
            size_bytes: content.len() as u64,
            sha256: Sha256::digest(content).to_vec(),
            ..Entry::default()
        },
    }
}

/// What a guest tells.
fn changes(base: &Tree, guest: &Tree) -> Vec<Change> {
    let paths: BTreeSet<_> = base.keys().chain(guest.keys()).collect();
    let differing = paths.into_iter().filter(|path| base.get(*path) != guest.get(*path));
    differing
        .map(|path| Change {
            path: path.as_bytes().to_vec(),
            base: base.get(path).map(|node| entry(path, node)),
            now: guest.get(path).map(|node| entry(path, node)),
            ..Change::default()
        })
        .collect()
}

/// Two directories, and what both were made from.
struct Sides {
    home: TempDir,
    base: Tree,
    guest: Tree,
}

impl Sides {
    fn new(base: Tree, guest: Tree, host: &Tree) -> Self {
        let home = tempfile::tempdir().unwrap();
        let sides = Self { home, base, guest };
        for (path, tree) in [(sides.host(), host), (sides.guest(), &sides.guest)] {
            fs::create_dir(&path).unwrap();
            make(tree, &path);
        }
        sides
    }

    fn host(&self) -> PathBuf {
        self.home.path().join("host")
    }

    fn guest(&self) -> PathBuf {
        self.home.path().join("guest")
    }

    fn plan(&self, exclude: &[&str]) -> (HostTree, Plan) {
        let host = HostTree::open(self.host()).unwrap();
        let exclude: Vec<_> = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        let mut ignored = Ignored::new(&host.root, &host.path, &exclude).unwrap();
        let plan = plan(&host, changes(&self.base, &self.guest), &[], &mut ignored).unwrap();
        (host, plan)
    }

    /// What the guest packs for a plan.
    fn archives(&self, plan: &Plan) -> Vec<Vec<u8>> {
        let root = Root::open(&self.guest()).unwrap();
        let pack = |request: Pack| {
            let mut writer = Writer::new(Vec::new());
            let mut packer = Packer::new(&root, &mut writer).unwrap();
            for path in request.paths {
                packer.append(&RelativePath::new(path).unwrap()).unwrap();
            }
            packer.finish();
            writer.finish().unwrap()
        };
        pack_requests(plan).into_iter().map(pack).collect()
    }

    fn pull(&self) -> (Plan, Written) {
        let (host, plan) = self.plan(&[]);
        let archives = self.archives(&plan);
        let written =
            carry_out(&host, &plan, archives.iter().map(Vec::as_slice), TRUST, DURABILITY, || true).unwrap();
        (plan, written)
    }
}

fn conflicts(plan: &Plan) -> Vec<(&str, ChangeStatus, ChangeStatus)> {
    let told = |conflict: &'_ Conflict| (conflict.guest, conflict.host);
    plan.conflicts
        .iter()
        .map(|conflict| {
            let (guest, host) = told(conflict);
            (std::str::from_utf8(&conflict.path).unwrap(), guest, host)
        })
        .collect()
}

#[test]
fn what_only_the_guest_changed_is_taken() {
    let base = tree([
        ("change", file("old")),
        ("delete", file("x")),
        ("gone/in/deep", file("x")),
        ("to-link", file("x")),
        ("to-directory", file("x")),
        ("to-file/in", file("x")),
        ("mode", file("x")),
        ("untouched", file("x")),
    ]);
    let guest = tree([
        ("change", file("new")),
        ("to-link", Node::Link("../outside".to_owned())),
        ("to-directory/in/deep", file("new")),
        ("to-file", file("new")),
        ("mode", Node::File { content: "x".to_owned(), is_executable: true }),
        ("untouched", file("x")),
        ("added/in/deep", file("new")),
        ("empty", Node::Directory),
    ]);
    let sides = Sides::new(base.clone(), guest.clone(), &base);
    let (plan, written) = sides.pull();
    assert_eq!((read(&sides.host()), conflicts(&plan)), (guest, Vec::new()));
    assert_eq!(written.content_bytes, 13);
    assert_eq!(written.entries.len(), plan.takes.len());
    assert!(sides.pull().0.takes.is_empty(), "the second time both are alike");
}

#[test]
fn what_both_changed_is_told_and_spared() {
    use ChangeStatus::{Added, Deleted, Modified, TypeChanged};
    let base = tree([
        ("both", file("old")),
        ("deleted-here", file("old")),
        ("deleted-there", file("old")),
        ("dir/in", file("old")),
        ("was-file", file("old")),
    ]);
    let guest = tree([
        ("both", file("guest")),
        ("deleted-here", file("guest")),
        ("new", file("guest")),
        ("alike", file("same")),
        ("dir", file("guest")),
        ("was-file/in", file("guest")),
        ("through/in", file("guest")),
    ]);
    let host = tree([
        ("both", file("host")),
        ("deleted-there", file("host")),
        ("new", file("host!")),
        ("alike", file("same")),
        ("dir/in", file("old")),
        ("dir/own", file("host")),
        ("was-file", file("host")),
        ("through", Node::Link("dir".to_owned())),
    ]);
    let sides = Sides::new(base, guest, &host);
    let (plan, _) = sides.pull();
    assert_eq!(
        conflicts(&plan),
        [
            ("both", Modified, Modified),
            ("deleted-here", Modified, Deleted),
            ("deleted-there", Deleted, Modified),
            ("dir", TypeChanged, Modified),
            ("new", Added, Added),
            ("through", Added, Added),
            ("through/in", Added, Added),
            ("was-file", TypeChanged, Modified),
            ("was-file/in", Added, Added),
        ]
    );
    let mut after = host;
    after.remove("dir/in");
    assert_eq!(read(&sides.host()), after, "only the deletion that nothing spoke against");
}

#[test]
fn a_directory_with_something_of_the_hosts_stays() {
    let base = tree([("dir/a", file("x")), ("dir/sub/b", file("x"))]);
    let host = tree([("dir/a", file("x")), ("dir/sub/b", file("x")), ("dir/own", file("host"))]);
    let sides = Sides::new(base, Tree::new(), &host);
    let (plan, _) = sides.pull();
    assert_eq!(read(&sides.host()), tree([("dir/own", file("host"))]));
    assert_eq!((plan.notes.len(), conflicts(&plan)), (1, Vec::new()));
}

#[test]
fn patterns_leave_out_and_say_so() {
    let guest = tree([("node_modules/x", file("x")), ("src/a", file("x")), ("src/a.log", file("x"))]);
    let host = tree([("src/.pyroignore", file("*.log\n"))]);
    let sides = Sides::new(Tree::new(), guest, &host);
    let (_, plan) = sides.plan(&["node_modules"]);
    let taken: Vec<_> = plan.takes.keys().map(ToString::to_string).collect();
    assert_eq!(taken, ["src/a"]);
    assert_eq!(plan.notes, ["3 changed paths are left out by patterns"]);
}

#[test]
fn a_file_of_the_host_keeps_its_permissions_and_a_new_one_gives_nothing_away() {
    let base = tree([("private", file("old")), ("script", file("old"))]);
    let guest = tree([
        ("private", file("new")),
        ("script", Node::File { content: "new".to_owned(), is_executable: true }),
        ("fresh", file("new")),
    ]);
    let sides = Sides::new(base.clone(), guest, &base);
    let set = |path: &str, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(sides.host().join("private").to_str().unwrap(), 0o600);
    set(sides.host().join("script").to_str().unwrap(), 0o640);
    let (host, mut plan) = sides.plan(&[]);
    for take in plan.takes.values_mut() {
        // As a guest may say.
        take.now.as_mut().unwrap().mode |= 0o6022;
    }
    let archives = sides.archives(&plan);
    carry_out(&host, &plan, archives.iter().map(Vec::as_slice), TRUST, DURABILITY, || true).unwrap();
    let mode = |path: &str| fs::metadata(sides.host().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("private"), mode("script"), mode("fresh")), (0o600, 0o750, 0o644));
}

#[test]
fn an_edit_that_comes_in_between_stops_everything() {
    let base = tree([("a", file("old")), ("b", file("old")), ("dir/in", file("x"))]);
    let guest = tree([("a", file("new")), ("b", file("new")), ("dir", file("new"))]);
    for edited in ["b", "dir/own"] {
        let sides = Sides::new(base.clone(), guest.clone(), &base);
        let (host, plan) = sides.plan(&[]);
        let archives = sides.archives(&plan);
        fs::write(sides.host().join(edited), "an edit").unwrap();
        let before = read(&sides.host());
        let refused = carry_out(&host, &plan, archives.iter().map(Vec::as_slice), TRUST, DURABILITY, || true)
            .unwrap_err();
        assert!(refused.is_conflict(), "{edited}: {refused}");
        assert_eq!(read(&sides.host()), before, "{edited}");
    }
}

#[test]
fn what_was_not_asked_for_or_does_not_come_stops_everything() {
    let base = tree([("a", file("old"))]);
    let guest = tree([("a", file("new")), ("b", file("new")), ("link", Node::Link("/etc".to_owned()))]);
    let sides = Sides::new(base.clone(), guest, &base);
    let (host, plan) = sides.plan(&[]);
    let whole = sides.archives(&plan).remove(0);
    let elsewhere = {
        let (_, mut wider) = sides.plan(&[]);
        let take = wider.takes[&RelativePath::new("b").unwrap()].clone();
        fs::write(sides.guest().join("c"), "c").unwrap();
        wider.takes.insert(RelativePath::new("c").unwrap(), take);
        sides.archives(&wider).remove(0)
    };
    let cut = whole[..whole.len() - 1500].to_vec();
    for (archives, may_commit) in [
        (vec![elsewhere], true),
        (vec![cut], true),
        (vec![], true),
        (vec![whole.clone(), whole.clone()], true),
        (vec![whole.clone()], false),
    ] {
        let archives = archives.iter().map(Vec::as_slice);
        carry_out(&host, &plan, archives, TRUST, DURABILITY, || may_commit).unwrap_err();
        assert_eq!(read(&sides.host()), base);
    }
    carry_out(&host, &plan, [whole.as_slice()], TRUST, DURABILITY, || true).unwrap();
}

#[test]
fn what_came_is_what_is_in_common() {
    let sides = Sides::new(Tree::new(), tree([("log", file("1"))]), &Tree::new());
    let (host, plan) = sides.plan(&[]);
    fs::write(sides.guest().join("log"), "12").unwrap();
    let archives = sides.archives(&plan);
    let written =
        carry_out(&host, &plan, archives.iter().map(Vec::as_slice), TRUST, DURABILITY, || true).unwrap();
    assert_eq!(written.entries[0].sha256, Sha256::digest("12").to_vec());
}

#[test]
fn hard_links_of_the_guest_arrive() {
    let sides = Sides::new(Tree::new(), tree([("a", file("x"))]), &Tree::new());
    fs::hard_link(sides.guest().join("a"), sides.guest().join("b")).unwrap();
    let guest = read(&sides.guest());
    let sides = Sides { guest, ..sides };
    sides.pull();
    assert_eq!(read(&sides.host()), sides.guest);
}

#[test]
fn paths_of_a_hostile_guest_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let host = HostTree::open(home.path().to_owned()).unwrap();
    let change =
        |path: &[u8]| Change { path: path.to_vec(), now: Some(entry("x", &file("x"))), ..Change::default() };
    for paths in
        [vec![b"../x".as_slice()], vec![b"/etc/x"], vec![b"a\0"], vec![b"a", b"a"], vec![b"a", b"a/"]]
    {
        let mut ignored = Ignored::new(&host.root, &host.path, &[]).unwrap();
        let changes = paths.iter().map(|path| change(path)).collect();
        assert!(plan(&host, changes, &[], &mut ignored).is_err(), "{paths:?}");
    }
    let mut ignored = Ignored::new(&host.root, &host.path, &[]).unwrap();
    let reserved = vec![change(b".pyro-transaction/journal"), change(b"")];
    assert!(plan(&host, reserved, &[], &mut ignored).unwrap().takes.is_empty());
    let wanted = [RelativePath::new("in").unwrap()];
    let both = vec![change(b"in/a"), change(b"inn")];
    let planned = plan(&host, both, &wanted, &mut ignored).unwrap();
    assert_eq!(planned.takes.keys().map(|path| path.as_os_str().as_bytes()).collect::<Vec<_>>(), [b"in/a"]);
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => ("[ab]", any::<bool>()).prop_map(|(content, is_executable)| Node::File { content, is_executable }),
        1 => "[ab]".prop_map(Node::Link),
        1 => Just(Node::Directory),
    ]
}

/// Few names, so that both sides meet often.
fn any_tree() -> impl Strategy<Value = Tree> {
    prop::collection::btree_map("[ab](/[ab]){0,2}", node(), 0..6).prop_map(with_parents)
}

/// A tree and what somebody made of it.
fn edited(base: Tree) -> impl Strategy<Value = Tree> {
    let edits = prop::collection::btree_map("[ab](/[ab]){0,2}", prop::option::of(node()), 0..4);
    edits.prop_map(move |edits| {
        let mut tree = base.clone();
        for (path, node) in edits {
            match node {
                Some(node) => drop(tree.insert(path, node)),
                None => tree.retain(|other, _| *other != path && !other.starts_with(&format!("{path}/"))),
            }
        }
        with_parents(tree)
    })
}

proptest! {
    #[test]
    fn a_pull_never_loses_an_edit(
        (base, guest, host) in any_tree().prop_flat_map(|base| {
            (Just(base.clone()), edited(base.clone()), edited(base))
        })
    ) {
        let sides = Sides::new(base.clone(), guest.clone(), &host);
        let (plan, written) = sides.pull();
        let after = read(&sides.host());
        let told: BTreeSet<_> = conflicts(&plan).into_iter().map(|(path, ..)| path.to_owned()).collect();
        let paths: BTreeSet<_> = base.keys().chain(guest.keys()).chain(host.keys()).collect();
        for path in paths {
            let [base, guest, host, after] = [&base, &guest, &host, &after].map(|tree| tree.get(path));
            // A directory is no more than the place of what is in it.
            let holds_taken = after == Some(&Node::Directory) && base == after && guest == after;
            if host != base && host != guest && !(host.is_none() && holds_taken) {
                prop_assert_eq!(after, host, "an edit of the host at {} stays", path);
            }
            if guest != base {
                let is_said = plan.notes.iter().any(|note| note.contains(&format!("`{path}`")));
                prop_assert!(after == guest || told.contains(path) || is_said, "the guest's edit at {}", path);
            }
            if told.contains(path) {
                prop_assert_eq!(after, host, "a conflict at {} writes nothing", path);
            }
        }
        for common in &written.entries {
            let path = std::str::from_utf8(&common.path).unwrap();
            prop_assert_eq!(after.get(path), guest.get(path), "{} is in common", path);
        }
        prop_assert!(!sides.host().join(STAGING_NAME).exists());
    }
}
