//! An archive from a user or a guest: read to its end, its members written again, and what was written read again. Both
//! readings must give the same members.
#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use pyro_tree::archive::{Limits, Member, Reader, Special, Writer};

fuzz_target!(|archive: &[u8]| {
    let limits = Limits { headers: 1000, contents_bytes: 1 << 20, extension_bytes: 1 << 16 };
    let mut reader = Reader::new(archive, limits, Special::Skip);
    let mut writer = Writer::new(Vec::new());
    let mut members: Vec<(Member, Vec<u8>)> = Vec::new();
    while let Ok(Some(member)) = reader.next_member() {
        let mut contents = Vec::new();
        if reader.read_to_end(&mut contents).is_err() {
            break;
        }
        writer.append_file(&member, &mut contents.as_slice(), &mut |error| panic!("{error}")).expect("a vector");
        members.push((member, contents));
    }
    let written = writer.finish().expect("a vector");
    let limits = Limits { headers: 4000, ..limits };
    let mut again = Reader::new(written.as_slice(), limits, Special::Refuse);
    for (member, contents) in members {
        assert_eq!(again.next_member().expect("our own archive"), Some(member));
        let mut read = Vec::new();
        again.read_to_end(&mut read).expect("our own archive");
        assert_eq!(read, contents);
    }
    assert_eq!(again.next_member().expect("our own archive"), None);
});
