//! The journal: a version, the steps in order, and an end. Every field ends with a zero byte, which no path has.

use super::{Error, Result, step::Step};
use crate::{
    attributes::{Attributes, Time},
    path::RelativePath,
};

const VERSION: &[u8] = b"pyro-transaction 1";
const END: &[u8] = b"end";

pub(super) fn encode(steps: &[Step]) -> Vec<u8> {
    let mut journal = Vec::new();
    let mut field = |bytes: &[u8]| {
        journal.extend_from_slice(bytes);
        journal.push(0);
    };
    let attributes = |attributes: &Attributes| {
        let Attributes { mode, uid, gid, mtime } = attributes;
        format!("{mode} {uid} {gid} {} {}", mtime.seconds, mtime.nanoseconds)
    };
    field(VERSION);
    for step in steps {
        match step {
            Step::Place { number, is_over, .. } => {
                field(if *is_over { b"replace" } else { b"place" });
                field(number.to_string().as_bytes());
            }
            Step::Remove { number, .. } => {
                field(b"remove");
                field(number.to_string().as_bytes());
            }
            Step::Prune { old, .. } => {
                field(b"prune");
                field(attributes(old).as_bytes());
            }
            Step::Attributes { old, new, .. } => {
                field(b"attributes");
                field(attributes(old).as_bytes());
                field(attributes(new).as_bytes());
            }
        }
        let target = step.target();
        field(if target.is_root() { b"." } else { target.as_bytes() });
    }
    field(END);
    journal
}

pub(super) fn decode(journal: &[u8]) -> Result<Vec<Step>> {
    parse(journal).ok_or(Error::BadJournal)
}

fn parse(journal: &[u8]) -> Option<Vec<Step>> {
    let mut fields = journal.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    if fields.next()? != VERSION {
        return None;
    }
    let mut steps = Vec::new();
    loop {
        let step = match fields.next()? {
            END => return fields.next().is_none().then_some(steps),
            kind @ (b"place" | b"replace") => Step::Place {
                number: number(fields.next()?)?,
                target: target(fields.next()?)?,
                is_over: kind == b"replace",
            },
            b"remove" => Step::Remove { number: number(fields.next()?)?, target: target(fields.next()?)? },
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

    #[test]
    fn what_is_written_is_read_and_nothing_less() {
        let at = |path: &[u8]| RelativePath::new(path).unwrap();
        let old = Attributes { mode: 0o644, uid: 1, gid: 2, mtime: Time { seconds: -3, nanoseconds: 4 } };
        let steps = [
            Step::Place { number: 0, target: at(b"a\nb"), is_over: true },
            Step::Place { number: 1, target: at(b"\xff"), is_over: false },
            Step::Remove { number: 2, target: at(b"end") },
            Step::Prune { target: at(b"d/e"), old },
            Step::Attributes { target: RelativePath::root(), old, new: Attributes { mode: 0o755, ..old } },
        ];
        let journal = encode(&steps);
        assert_eq!(decode(&journal).unwrap(), steps);
        for length in 0..journal.len() {
            assert!(decode(&journal[..length]).is_err(), "{length}");
        }
        assert!(decode(&[journal.as_slice(), b"more\0"].concat()).is_err());
    }
}
