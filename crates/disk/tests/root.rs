//! The tree that programs in the machine saw.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use pyro_disk::{Error, Follow, Kind, ListLimits};
use support::{Machine, debugfs, paths, text, write};

#[test]
fn a_machine_that_was_never_booted_shows_its_image() {
    let machine = Machine::new(|image, _disk| write(image, &[("etc/hostname", "host"), ("workspace/", "")]));
    let root = machine.root();
    assert_eq!(paths(&root, "/"), ["/etc", "/etc/hostname", "/workspace"]);
    assert!(paths(&root, "/workspace").is_empty());
}

#[test]
fn what_was_changed_lies_over_the_image() {
    let machine = Machine::new(|image, disk| {
        write(image, &[("etc/kept", "kept"), ("etc/changed", "old"), ("etc/gone", ""), ("usr/gone/x", "")]);
        write(image, &[("replaced/old", ""), ("replaced/both", "old"), ("file-then-directory", "file")]);
        write(image, &[("directory-then-file/x", ""), ("tmp/image", "")]);
        write(disk, &[("upper/etc/changed", "new"), ("upper/etc/added", "added"), ("upper/usr/", "")]);
        write(disk, &[("upper/replaced/both", "new"), ("upper/file-then-directory/x", "")]);
        write(disk, &[("upper/directory-then-file", "file"), ("work/work/", "")]);
        write(disk, &[("tmp/disk", "t"), ("docker/layers/a", "d"), ("upper/var/lib/docker/", "")]);
        write(disk, &[("workspace/state/", ""), ("workspace/seed/not-yet", ""), ("upper/workspace/own", "")]);
    });
    machine.whiteout("/upper/etc/gone");
    machine.whiteout("/upper/usr/gone");
    machine.attribute("/upper/replaced", "trusted.overlay.opaque", "y");
    let root = machine.root();
    let expected = [
        "/directory-then-file",
        "/etc",
        "/etc/added",
        "/etc/changed",
        "/etc/kept",
        "/file-then-directory",
        "/file-then-directory/x",
        "/replaced",
        "/replaced/both",
        "/tmp",
        "/tmp/disk",
        "/usr",
        "/var",
        "/var/lib",
        "/var/lib/docker",
        "/var/lib/docker/layers",
        "/var/lib/docker/layers/a",
        "/workspace",
        "/workspace/own",
    ];
    assert_eq!(paths(&root, "/"), expected);
    assert_eq!(text(&root, "/etc/changed"), "new");
    assert_eq!(text(&root, "/etc/kept"), "kept");
    assert_eq!(text(&root, "/replaced/both"), "new");
    assert_eq!(text(&root, "/tmp/disk"), "t");
    for path in ["/etc/gone", "/usr/gone", "/usr/gone/x", "/replaced/old", "/tmp/image", "/workspace/not-yet"]
    {
        assert!(
            matches!(root.metadata(path.as_bytes(), Follow::Last), Err(Error::NotFound { .. })),
            "{path}"
        );
    }
}

#[test]
fn a_seeded_workspace_is_an_overlay_of_its_own() {
    let machine = Machine::new(|image, disk| {
        write(image, &[("workspace/of-image", "")]);
        write(
            disk,
            &[
                ("workspace/state/seeded", ""),
                ("workspace/seed/kept/a", "seed"),
                ("workspace/seed/b", "seed"),
            ],
        );
        write(
            disk,
            &[("workspace/upper/kept/new", "new"), ("workspace/work/", ""), ("upper/workspace/hidden", "")],
        );
    });
    machine.whiteout("/workspace/upper/b");
    let root = machine.root();
    assert_eq!(
        paths(&root, "/"),
        ["/workspace", "/workspace/kept", "/workspace/kept/a", "/workspace/kept/new"]
    );
    assert_eq!(paths(&root, "."), ["/workspace/kept", "/workspace/kept/a", "/workspace/kept/new"]);
    assert_eq!(text(&root, "kept/a"), "seed");
}

#[test]
fn renamed_directories_show_what_they_had() {
    let machine = Machine::new(|_image, disk| {
        write(
            disk,
            &[
                ("workspace/state/seeded", ""),
                ("workspace/seed/a/b/file", "ab"),
                ("workspace/seed/c/d/x", "cd"),
            ],
        );
        write(disk, &[("workspace/upper/new/b2/added", "added"), ("workspace/upper/moved/", "")]);
        write(
            disk,
            &[
                ("workspace/upper/escape/", ""),
                ("workspace/upper/dots/", ""),
                ("workspace/upper/nowhere/", ""),
            ],
        );
    });
    machine.whiteout("/workspace/upper/a");
    // `a` became `new`, and in it `b` became `b2`; `c/d` became `moved`.
    machine.attribute("/workspace/upper/new", "trusted.overlay.redirect", "a");
    machine.attribute("/workspace/upper/new/b2", "trusted.overlay.redirect", "b");
    machine.attribute("/workspace/upper/moved", "trusted.overlay.redirect", "/c/d");
    machine.attribute("/workspace/upper/escape", "trusted.overlay.redirect", "/../seed/c");
    machine.attribute("/workspace/upper/dots", "trusted.overlay.redirect", "..");
    machine.attribute("/workspace/upper/nowhere", "trusted.overlay.redirect", "/none/at/all");
    // A program's, which says nothing.
    machine.attribute("/workspace/upper/nowhere", "user.overlay.redirect", "/c/d");
    let root = machine.root();
    let expected =
        ["c", "c/d", "c/d/x", "dots", "escape", "moved", "moved/x", "new", "new/b", "new/b/file", "new/b2"]
            .iter()
            .chain(&["new/b2/added", "new/b2/file", "nowhere"])
            .map(|path| format!("/workspace/{path}"));
    assert_eq!(paths(&root, "."), expected.collect::<Vec<_>>());
    assert_eq!(text(&root, "new/b2/file"), "ab");
    assert_eq!(text(&root, "moved/x"), "cd");
}

#[test]
fn whiteouts_may_be_files_where_the_directory_says_so() {
    let machine = Machine::new(|_image, disk| {
        write(
            disk,
            &[("workspace/state/seeded", ""), ("workspace/seed/d/a", ""), ("workspace/seed/d/b", "")],
        );
        write(
            disk,
            &[("workspace/upper/d/a", ""), ("workspace/upper/d/b", "not empty"), ("workspace/upper/e/a", "")],
        );
    });
    machine.attribute("/workspace/upper/d", "trusted.overlay.opaque", "x");
    for path in ["d/a", "d/b", "e/a"] {
        machine.attribute(&format!("/workspace/upper/{path}"), "trusted.overlay.whiteout", "y");
    }
    assert_eq!(
        paths(&machine.root(), "."),
        ["/workspace/d", "/workspace/d/b", "/workspace/e", "/workspace/e/a"]
    );
}

#[test]
fn all_names_of_a_changed_file_show_the_change() {
    let machine = Machine::new(|_image, disk| {
        write(
            disk,
            &[
                ("workspace/state/seeded", ""),
                ("workspace/seed/one", "old"),
                ("workspace/seed/other", "alone"),
            ],
        );
        fs::hard_link(disk.join("workspace/seed/one"), disk.join("workspace/seed/two")).unwrap();
        write(disk, &[("workspace/upper/two", "changed"), ("workspace/work/index/", "")]);
    });
    let said = debugfs(&machine.disk(), &["stat /workspace/seed/one"]);
    let field = |name: &str| -> u32 {
        let rest = said.split_once(name).unwrap().1.trim_start();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (inode, generation) = (field("Inode:"), field("Generation:"));
    let hex = |number: u32| number.to_le_bytes().map(|byte| format!("{byte:02x}")).concat();
    let name = format!("00fb1d0001{:032}{}{}", 0, hex(inode), hex(generation));
    debugfs(&machine.disk(), &[&format!("ln /workspace/upper/two /workspace/work/index/{name}")]);
    let root = machine.root();
    assert_eq!(["one", "two", "other"].map(|path| text(&root, path)), ["changed", "changed", "alone"]);
}

#[test]
fn paths_are_followed_as_in_the_machine() {
    let machine = Machine::new(|image, disk| {
        write(image, &[("etc/passwd", "machine"), ("a/b/file", "file")]);
        write(
            disk,
            &[("workspace/state/seeded", ""), ("workspace/seed/d/file", "seed"), ("workspace/upper/", "")],
        );
        let seed = disk.join("workspace/seed");
        symlink("/etc/passwd", seed.join("absolute")).unwrap();
        symlink("../../../../etc/passwd", seed.join("d/climbing")).unwrap();
        symlink("d", seed.join("to-directory")).unwrap();
        symlink("loop", seed.join("loop")).unwrap();
        symlink("none", seed.join("dangling")).unwrap();
        symlink("/workspace/to-directory/../d/file", seed.join("long-way")).unwrap();
        for link in 0..45 {
            symlink(format!("chain{}", link + 1), seed.join(format!("chain{link}"))).unwrap();
        }
        write(&seed, &[("chain45", "end")]);
    });
    let root = machine.root();
    for (path, expected) in [
        ("absolute", "machine"),
        ("d/climbing", "machine"),
        ("to-directory/file", "seed"),
        ("to-directory/../d/./file", "seed"),
        ("../a/b/file", "file"),
        ("/../../..//a/b/file", "file"),
        ("long-way", "seed"),
        ("chain5", "end"),
    ] {
        assert_eq!(text(&root, path), expected, "{path}");
    }
    let error = |path: &str| root.read(path.as_bytes(), 0, 1).unwrap_err();
    assert!(matches!(error("loop"), Error::TooManyLinks { .. }));
    assert!(matches!(error("chain4"), Error::TooManyLinks { .. }));
    assert!(matches!(error("dangling"), Error::NotFound { .. }));
    assert!(matches!(error("d/file/x"), Error::NotADirectory { .. }));
    assert!(matches!(error("d/file/"), Error::NotADirectory { .. }));
    assert!(matches!(error("d/file/.."), Error::NotADirectory { .. }));
    assert!(matches!(error("d/file/../file"), Error::NotADirectory { .. }));
    assert!(matches!(error(""), Error::BadPath { .. }));
    assert_eq!(error("d/n\no").to_string(), "there is no `/workspace/d/n\\no`");
    let kind = |path: &str, follow| root.metadata(path.as_bytes(), follow).unwrap().kind;
    assert_eq!(kind("to-directory", Follow::NotLast), Kind::Symlink);
    assert_eq!(kind("to-directory", Follow::Last), Kind::Directory);
    assert_eq!(kind("to-directory/", Follow::NotLast), Kind::Directory);
}

#[test]
fn lists_are_in_the_order_of_paths_and_end_where_asked() {
    let machine = Machine::new(|image, _disk| {
        write(image, &[("d/a/x", ""), ("d/a-b", ""), ("d/a.c", ""), ("d/ab", ""), ("d/b", "content")]);
        symlink("d", image.join("link")).unwrap();
    });
    let root = machine.root();
    let all = ["/d/a", "/d/a-b", "/d/a.c", "/d/a/x", "/d/ab", "/d/b"];
    assert_eq!(paths(&root, "/link"), all);
    for entries in 0..=6 {
        let listing = root.list(b"/d", &ListLimits { after: None, recursive: true, entries }).unwrap();
        assert_eq!(listing.truncated, entries < 6);
        let paths: Vec<_> =
            listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect();
        assert_eq!(paths, all[..entries]);
    }
    let flat = root.list(b"/d", &ListLimits { after: None, recursive: false, entries: 9 }).unwrap();
    assert_eq!(flat.entries.len(), 5);
    let file = root.list(b"/d/b", &ListLimits { after: None, recursive: true, entries: 9 }).unwrap();
    assert_eq!((file.entries.len(), file.entries[0].metadata.size_bytes), (1, 7));
}

#[test]
fn a_directory_that_lies_in_itself_is_an_error() {
    let machine = Machine::new(|image, _disk| write(image, &[("a/b/c/", ""), ("other", "")]));
    debugfs(&machine.image(), &["ln /a /a/b/c/a"]);
    let root = machine.root();
    let listed = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 1_000_000 });
    assert!(matches!(listed, Err(Error::Cycle { .. })), "{listed:?}");
    let limits = pyro_disk::ArchiveLimits { members: 1000, content_bytes: 1000 };
    assert!(matches!(root.write_tar(&mut std::io::sink(), &limits), Err(Error::Cycle { .. })));
    assert!(root.metadata(b"/a/b/c/a/b/c/a", Follow::Last).is_ok());
}

#[test]
fn a_tree_can_be_read_by_another_thread() {
    fn of_all<T: Send + Sync>() {}
    of_all::<pyro_disk::Root>();
    of_all::<pyro_disk::Disk>();
}

#[test]
fn directories_that_share_their_blocks_end_soon() {
    // Twenty levels, each with two names for the next: a million paths, in twenty blocks.
    let machine = Machine::new(|image, _disk| write(image, &[(&"a/".repeat(20), "")]));
    let links = (0..19).map(|depth| format!("ln /{0}a /{0}b", "a/".repeat(depth)));
    debugfs(&machine.image(), &links.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
    let root = machine.root();
    let listing = root.list(b"/", &ListLimits { after: None, recursive: true, entries: 5000 }).unwrap();
    assert!(listing.truncated && listing.entries.len() == 5000);
    let limits = pyro_disk::ArchiveLimits { members: 5000, content_bytes: 0 };
    assert!(matches!(root.write_tar(&mut std::io::sink(), &limits), Err(Error::TooMuch { .. })));
}
