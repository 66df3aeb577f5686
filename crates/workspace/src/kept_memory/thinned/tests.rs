//! Thinned chains compose to what whole ones do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::{fd::AsFd, unix::fs::FileExt},
};

use proptest::prelude::*;
use pyro_engine::{MemoryBase, SealedMemory};

use super::*;
use crate::seal_key::SealKey;

const PAGES: u64 = 40;
const MEMORY_BYTES: u64 = PAGES * PAGE_BYTES as u64;
const NOTHING: MemoryBase<'_> = MemoryBase::Zero { size_bytes: MEMORY_BYTES };

/// What pages hold, each the repetition of one byte.
type Pages = BTreeMap<u64, u8>;

fn digester() -> PageDigester {
    let home = tempfile::tempdir().unwrap();
    PageDigester::new(&SealKey::of(&home.path().join("seal.key")).unwrap())
}

fn delta(pages: &Pages) -> Vec<u8> {
    let mut delta = MemoryDeltaWriter::begin(Vec::new(), MEMORY_BYTES).unwrap();
    for (page, value) in pages {
        delta.pages(*page, &[*value; PAGE_BYTES]).unwrap();
    }
    delta.end().unwrap().0
}

/// The pages of a delta.
fn pages_of(delta: &[u8]) -> BTreeSet<u64> {
    let mut reader = MemoryDeltaReader::begin(delta, MEMORY_BYTES).unwrap();
    let mut pages = BTreeSet::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        let (first, count) = match piece {
            Piece::Data { first_page, bytes } => (first_page, bytes.len() / PAGE_BYTES),
            Piece::Zero { first_page, count } => (first_page, usize::try_from(count).unwrap()),
        };
        pages.extend((first..).take(count));
    }
    pages
}

fn thinned(
    digester: &PageDigester,
    pages: &Pages,
    parent: Option<&PageDigests>,
) -> (Vec<u8>, PageDigests, Written) {
    let mut out = Vec::new();
    let (digests, written) = thin(&delta(pages)[..], MEMORY_BYTES, digester, parent, &mut out).unwrap();
    (out, digests, written)
}

fn composed(base: MemoryBase<'_>, deltas: &[Vec<u8>]) -> SealedMemory {
    SealedMemory::compose(base, deltas.iter().map(Vec::as_slice)).unwrap()
}

fn content(memory: &SealedMemory) -> Vec<u8> {
    let file = File::from(memory.as_fd().try_clone_to_owned().unwrap());
    let mut bytes = vec![0; usize::try_from(MEMORY_BYTES).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn only_what_the_parent_does_not_have_is_kept() {
    let digester = digester();
    let first = Pages::from([(1, 1), (2, 0), (5, 5), (6, 6), (7, 7)]);
    let (out, digests, written) = thinned(&digester, &first, None);
    assert_eq!(out, delta(&first), "without a parent it is all");
    assert_eq!((digests.pages(), written.pages, written.zero_pages), (5, 5, 1));

    // The same; another; zero to content; content to zero; two new ones; zero again.
    let second = Pages::from([(0, 3), (1, 1), (2, 9), (5, 0), (6, 6), (7, 1), (30, 0)]);
    let (out, after, written) = thinned(&digester, &second, Some(&digests));
    assert_eq!(pages_of(&out), BTreeSet::from([0, 2, 5, 7, 30]));
    assert_eq!(
        (after.pages(), written.pages, written.zero_pages, written.bytes),
        (7, 5, 2, out.len() as u64)
    );
    let (out, again, written) = thinned(&digester, &second, Some(&after));
    assert_eq!((again, written.pages, out), (after.clone(), 0, delta(&Pages::new())));

    // A machine that was started from it has but few pages of its own.
    let (out, digests, _) = thinned(&digester, &Pages::from([(6, 6), (30, 4)]), Some(&after));
    assert_eq!((pages_of(&out), digests.pages()), (BTreeSet::from([30]), 7));
}

#[test]
fn digests_are_of_this_store() {
    let (one, other) = (digester(), digester());
    let pages = Pages::from([(1, 1), (2, 0)]);
    let (_, theirs, _) = thinned(&other, &pages, None);
    assert_eq!(thinned(&one, &pages, Some(&theirs)).2.pages, 2);
}

#[test]
fn what_is_no_delta_is_not_thinned() {
    let digester = digester();
    let mut damaged = delta(&Pages::from([(1, 1), (2, 0)]));
    damaged[100] ^= 1;
    let (mut out, parent) = (Vec::new(), PageDigests::default());
    let error = thin(&damaged[..], MEMORY_BYTES, &digester, Some(&parent), &mut out).unwrap_err();
    assert!(matches!(error, ThinError::Delta(MemoryDeltaError::Damaged { .. })), "{error:?}");
    let whole = delta(&Pages::from([(1, 1)]));
    let error = thin(&whole[..], 2 * MEMORY_BYTES, &digester, None, &mut out).unwrap_err();
    assert!(matches!(error, ThinError::Delta(MemoryDeltaError::MemorySize { .. })), "{error:?}");
    let error = thin(&whole[..], MEMORY_BYTES, &digester, None, &mut [0; 5000][..5000 - 1000]).unwrap_err();
    assert!(matches!(error, ThinError::Write(_)), "{error:?}");
}

/// Mostly zeros and few others, so that pages become again what they were.
fn pages() -> impl Strategy<Value = Pages> {
    prop::collection::btree_map(0..PAGES, 0..4_u8, 0..30)
}

proptest! {
    /// Captures of a machine; before some of them another one is started from the capture before.
    #[test]
    fn a_thinned_chain_is_what_the_cumulative_delta_is(
        base in pages(),
        steps in prop::collection::vec((pages(), any::<bool>()), 1..8),
    ) {
        let digester = digester();
        let base = composed(NOTHING, &[delta(&base)]);
        let (mut chain, mut digests) = (Vec::new(), None);
        // What the running machine was started from, and what it changed since.
        let (mut started_from, mut changed) = (composed(MemoryBase::Sealed(&base), &[]), Pages::new());
        for (changes, starts_anew) in steps {
            if starts_anew {
                started_from = composed(MemoryBase::Sealed(&base), &chain);
                changed.clear();
            }
            changed.extend(changes);
            let (out, now, written) = thinned(&digester, &changed, digests.as_ref());
            prop_assert_eq!(written.pages, pages_of(&out).len() as u64);
            chain.push(out);
            digests = Some(now);
            let whole = composed(MemoryBase::Sealed(&started_from), &[delta(&changed)]);
            let thin = composed(MemoryBase::Sealed(&base), &chain);
            prop_assert!(content(&whole) == content(&thin), "after {} captures", chain.len());
        }
        // Nothing is kept twice: the same capture again is empty.
        let (_, _, written) = thinned(&digester, &changed, digests.as_ref());
        prop_assert_eq!(written.pages, 0);
    }
}
