//! The journal: a version, the steps in order, an end, and the seal if it has one. Every field ends with a zero byte, which no
//! path has. A journal without the seal that is wanted is not even parsed.
//!
//! A journal of another version is refused: without the stamps of version 2 nobody can tell what was edited since, and version 1
//! had no seal, so on the host none of it is distinguishable from a forged one.

use super::{Below, Error, Result, Trust, seal::TAG_BYTES, stamp::Stamp, step::Step};
use crate::{
    attributes::{Attributes, FileKind, Time},
    path::RelativePath,
};

const FAMILY: &[u8] = b"pyro-transaction ";
const VERSION: &[u8] = b"pyro-transaction 2";
const END: &[u8] = b"end";
/// The seal as a field: two digits for each byte.
const SEAL_BYTES: usize = 2 * TAG_BYTES + 1;

pub(super) fn encode(steps: &[Step], trust: Trust<'_>) -> Vec<u8> {
    let mut journal = Vec::new();
    field(&mut journal, VERSION);
    for step in steps {
        match step {
            Step::Place { number, over: None, new, .. } => {
                field(&mut journal, b"place");
                text(&mut journal, *number);
                stamp(&mut journal, new);
            }
            Step::Place { number, over: Some(over), new, .. } => {
                field(&mut journal, b"replace");
                text(&mut journal, *number);
                stamp(&mut journal, over);
                stamp(&mut journal, new);
            }
            Step::Remove { number, old, .. } => {
                field(&mut journal, b"remove");
                text(&mut journal, *number);
                stamp(&mut journal, old);
            }
            Step::Prune { old, .. } => {
                field(&mut journal, b"prune");
                text(&mut journal, numbers(old));
            }
            Step::Attributes { old, new, .. } => {
                field(&mut journal, b"attributes");
                text(&mut journal, numbers(old));
                text(&mut journal, numbers(new));
            }
        }
        let target = step.target();
        field(&mut journal, if target.is_root() { b"." } else { target.as_bytes() });
    }
    field(&mut journal, END);
    if let Trust::Sealed(seal) = trust {
        let digits: String = seal.tag(&journal).iter().map(|byte| format!("{byte:02x}")).collect();
        text(&mut journal, digits);
    }
    journal
}

fn field(journal: &mut Vec<u8>, bytes: &[u8]) {
    journal.extend_from_slice(bytes);
    journal.push(0);
}

fn text(journal: &mut Vec<u8>, text: impl std::fmt::Display) {
    field(journal, text.to_string().as_bytes());
}

fn numbers(attributes: &Attributes) -> String {
    let Attributes { mode, uid, gid, mtime } = attributes;
    format!("{mode} {uid} {gid} {} {}", mtime.seconds, mtime.nanoseconds)
}

fn stamp(journal: &mut Vec<u8>, stamp: &Stamp) {
    let Stamp { kind, size_bytes, attributes, link, below: Below(below) } = stamp;
    text(journal, format_args!("{} {size_bytes} {below} {}", letter(*kind), numbers(attributes)));
    field(journal, link);
}

fn letter(kind: FileKind) -> char {
    match kind {
        FileKind::Directory => 'd',
        FileKind::File => 'f',
        FileKind::Symlink => 'l',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::Device => 'c',
    }
}

/// The steps of a journal that is believed.
pub(super) fn decode(journal: &[u8], trust: Trust<'_>) -> Result<Vec<Step>> {
    let journal = match trust {
        Trust::Owner => journal,
        Trust::Sealed(seal) => {
            let (journal, tag) = split(journal).ok_or(Error::Unsealed)?;
            if !seal.holds(journal, &tag) {
                return Err(Error::Unsealed);
            }
            journal
        }
    };
    parse(journal)
        .ok_or_else(|| if is_of_other_version(journal) { Error::OtherVersion } else { Error::BadJournal })
}

/// A journal and its seal.
fn split(journal: &[u8]) -> Option<(&[u8], [u8; TAG_BYTES])> {
    let (journal, seal) = journal.split_at_checked(journal.len().checked_sub(SEAL_BYTES)?)?;
    let digits = std::str::from_utf8(seal.strip_suffix(b"\0")?).ok()?;
    let mut tag = [0; TAG_BYTES];
    for (index, byte) in tag.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some((journal, tag))
}

fn is_of_other_version(journal: &[u8]) -> bool {
    journal.starts_with(FAMILY) && !journal.starts_with(&[VERSION, b"\0"].concat())
}

fn parse(journal: &[u8]) -> Option<Vec<Step>> {
    let mut fields = journal.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    if fields.next()? != VERSION {
        return None;
    }
    let mut steps = Vec::new();
    loop {
        let fields = &mut fields;
        let step = match fields.next()? {
            END => return fields.next().is_none().then_some(steps),
            b"place" => Step::Place {
                number: number(fields.next()?)?,
                over: None,
                new: read_stamp(fields)?,
                target: target(fields.next()?)?,
            },
            b"replace" => Step::Place {
                number: number(fields.next()?)?,
                over: Some(read_stamp(fields)?),
                new: read_stamp(fields)?,
                target: target(fields.next()?)?,
            },
            b"remove" => Step::Remove {
                number: number(fields.next()?)?,
                old: read_stamp(fields)?,
                target: target(fields.next()?)?,
            },
            b"prune" => Step::Prune { old: attributes(fields.next()?)?, target: target(fields.next()?)? },
            b"attributes" => Step::Attributes {
                old: attributes(fields.next()?)?,
                new: attributes(fields.next()?)?,
                target: target(fields.next()?)?,
            },
            _ => return None,
        };
        steps.push(step);
    }
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn target(field: &[u8]) -> Option<RelativePath> {
    RelativePath::new(field).ok()
}

fn read_stamp<'j>(fields: &mut impl Iterator<Item = &'j [u8]>) -> Option<Stamp> {
    let mut parts = fields.next()?.splitn(4, |byte| *byte == b' ');
    let kind = match parts.next()? {
        b"d" => FileKind::Directory,
        b"f" => FileKind::File,
        b"l" => FileKind::Symlink,
        b"p" => FileKind::Fifo,
        b"s" => FileKind::Socket,
        b"c" => FileKind::Device,
        _ => return None,
    };
    let size_bytes = number(parts.next()?)?;
    let below = Below(number(parts.next()?)?);
    let attributes = attributes(parts.next()?)?;
    Some(Stamp { kind, size_bytes, attributes, link: fields.next()?.to_vec(), below })
}

fn attributes(field: &[u8]) -> Option<Attributes> {
    let mut numbers = field.split(|byte| *byte == b' ');
    let attributes = Attributes {
        mode: number(numbers.next()?)?,
        uid: number(numbers.next()?)?,
        gid: number(numbers.next()?)?,
        mtime: Time { seconds: number(numbers.next()?)?, nanoseconds: number(numbers.next()?)? },
    };
    numbers.next().is_none().then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Seal, Tag};

    /// No secret, but another tag for another journal and another salt.
    #[derive(Debug)]
    struct Salted(u8);

    impl Seal for Salted {
        fn tag(&self, journal: &[u8]) -> Tag {
            let mut tag = [self.0; TAG_BYTES];
            for (index, byte) in journal.iter().enumerate() {
                let place = &mut tag[index % TAG_BYTES];
                *place = place.wrapping_mul(31).wrapping_add(*byte);
            }
            tag
        }

        fn holds(&self, journal: &[u8], tag: &Tag) -> bool {
            self.tag(journal) == *tag
        }
    }

    fn steps() -> Vec<Step> {
        let at = |path: &[u8]| RelativePath::new(path).unwrap();
        let old = Attributes { mode: 0o644, uid: 1, gid: 2, mtime: Time { seconds: -3, nanoseconds: 4 } };
        let file = Stamp {
            kind: FileKind::File,
            size_bytes: 7,
            attributes: old,
            link: Vec::new(),
            below: Below::default(),
        };
        let link = Stamp { kind: FileKind::Symlink, link: b"end\n".to_vec(), ..file.clone() };
        let directory = Stamp { kind: FileKind::Directory, below: Below(u64::MAX), ..file.clone() };
        vec![
            Step::Place { number: 0, target: at(b"a\nb"), over: Some(link), new: file.clone() },
            Step::Place { number: 1, target: at(b"\xff"), over: None, new: directory },
            Step::Remove { number: 2, target: at(b"end"), old: file },
            Step::Prune { target: at(b"d/e"), old },
            Step::Attributes { target: RelativePath::root(), old, new: Attributes { mode: 0o755, ..old } },
        ]
    }

    #[test]
    fn what_is_written_is_read_and_nothing_less() {
        let steps = steps();
        let journal = encode(&steps, Trust::Owner);
        assert_eq!(decode(&journal, Trust::Owner).unwrap(), steps);
        for length in 0..journal.len() {
            assert!(decode(&journal[..length], Trust::Owner).is_err(), "{length}");
        }
        assert!(decode(&[journal.as_slice(), b"more\0"].concat(), Trust::Owner).is_err());
    }

    #[test]
    fn only_what_was_sealed_by_the_same_is_read() {
        let steps = steps();
        let sealed = encode(&steps, Trust::Sealed(&Salted(1)));
        assert_eq!(decode(&sealed, Trust::Sealed(&Salted(1))).unwrap(), steps);
        let is_refused = |journal: &[u8], salt| {
            matches!(decode(journal, Trust::Sealed(&Salted(salt))), Err(Error::Unsealed))
        };
        assert!(is_refused(&sealed, 2));
        assert!(is_refused(&encode(&steps, Trust::Owner), 1));
        assert!(is_refused(b"", 1));
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(is_refused(&changed, 1), "{index}");
            assert!(is_refused(&sealed[..index], 1), "{index}");
        }
        // Nobody takes a seal for a step.
        assert!(matches!(decode(&sealed, Trust::Owner), Err(Error::BadJournal)));
    }

    #[test]
    fn another_version_is_told_apart() {
        for version in ["pyro-transaction 1", "pyro-transaction 20", "pyro-transaction 3"] {
            let journal = [version.as_bytes(), b"\0end\0"].concat();
            assert!(matches!(decode(&journal, Trust::Owner), Err(Error::OtherVersion)), "{version}");
        }
        assert!(matches!(decode(b"nonsense", Trust::Owner), Err(Error::BadJournal)));
    }
}
