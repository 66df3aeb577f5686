//! [`BinaryParts`]: what a patch says of binary files, taken out of it.
//!
//! The guest's patch says of each that it differs, as git does. Whoever applies such a patch is refused, by git too, so what
//! leaves here has no such parts; the changes say which files are binary.

use std::ops::Range;

use bytes::Bytes;
use pyro_protocol::work::Change;

/// Parts of a patch, in order, none in another.
#[derive(Debug, Default)]
pub(super) struct BinaryParts {
    parts: Vec<Range<u64>>,
}

impl BinaryParts {
    /// The parts of those changes that no text can say. A binary file that has only another name or mode is not one.
    pub(super) fn of<'c>(changes: impl IntoIterator<Item = &'c Change>) -> Self {
        let mut parts: Vec<_> = changes.into_iter().filter_map(binary_part).collect();
        parts.sort_by_key(|part| (part.start, part.end));
        // The guest may say anything.
        let mut end = 0;
        for part in &mut parts {
            part.start = part.start.max(end);
            part.end = part.end.max(part.start);
            end = part.end;
        }
        Self { parts }
    }

    /// What is left of a piece that begins at `at` in the patch.
    pub(super) fn cut_out_of(&self, at: u64, piece: &Bytes) -> Vec<Bytes> {
        let end = at + piece.len() as u64;
        let place = |offset: u64| usize::try_from(offset.clamp(at, end) - at).unwrap_or(piece.len());
        let (mut left, mut begin) = (Vec::new(), at);
        for part in self.parts.iter().filter(|part| part.end > at && part.start < end) {
            left.push(piece.slice(place(begin)..place(part.start.max(begin))));
            begin = part.end;
        }
        left.push(piece.slice(place(begin)..));
        left.retain(|bytes| !bytes.is_empty());
        left
    }

    /// Says where a change's own part is, when all of these are cut out.
    pub(super) fn move_up(&self, change: &mut Change) {
        if binary_part(change).is_some() {
            (change.patch_offset, change.patch_bytes) = (None, 0);
        } else if let Some(offset) = change.patch_offset {
            let before = self.parts.iter().take_while(|part| part.end <= offset);
            let cut: u64 = before.map(|part| part.end - part.start).sum();
            change.patch_offset = Some(offset - cut);
        }
    }
}

/// Whether a patch cannot say what became of the content.
pub(super) fn is_beyond_text(change: &Change) -> bool {
    let is_same_content = match (&change.base, &change.now) {
        (Some(base), Some(now)) => !now.sha256.is_empty() && base.sha256 == now.sha256,
        _ => false,
    };
    change.binary && !is_same_content
}

fn binary_part(change: &Change) -> Option<Range<u64>> {
    let begin = change.patch_offset.filter(|_| is_beyond_text(change))?;
    Some(begin..begin.saturating_add(change.patch_bytes))
}

#[cfg(test)]
mod tests {
    use pyro_protocol::work::Entry;

    use super::*;

    fn change(patch_offset: u64, patch_bytes: u64, binary: bool) -> Change {
        Change { patch_offset: Some(patch_offset), patch_bytes, binary, ..Change::default() }
    }

    fn without(changes: &[Change], pieces: &[&'static [u8]]) -> Vec<u8> {
        let (parts, mut at, mut left) = (BinaryParts::of(changes), 0, Vec::new());
        for piece in pieces {
            left.extend(parts.cut_out_of(at, &Bytes::from_static(piece)).concat());
            at += piece.len() as u64;
        }
        left
    }

    #[test]
    fn parts_are_cut_out_however_the_pieces_fall() {
        let mut changes = [change(0, 2, true), change(2, 3, false), change(5, 2, true), change(7, 1, false)];
        for pieces in [&[b"bbtttbbx".as_slice()][..], &[b"b", b"bttt", b"b", b"bx"], &[b"bbtttb", b"bx"]] {
            assert_eq!(without(&changes, pieces), b"tttx", "{pieces:?}");
        }
        let parts = BinaryParts::of(&changes);
        changes.iter_mut().for_each(|change| parts.move_up(change));
        assert_eq!(changes.map(|change| change.patch_offset), [None, Some(0), None, Some(3)]);
    }

    #[test]
    fn nonsense_of_the_guest_does_no_harm() {
        let changes = [change(1, u64::MAX, true), change(3, 2, true), change(u64::MAX, 9, true)];
        assert_eq!(without(&changes, &[b"abc", b"def"]), b"a");
        let mut odd = change(4, 1, false);
        BinaryParts::of(&changes).move_up(&mut odd);
        assert_eq!(odd.patch_offset, Some(4));
    }

    #[test]
    fn a_binary_file_under_another_name_stays_in_the_patch() {
        let same = || Some(Entry { sha256: vec![1], ..Entry::default() });
        let renamed = Change { base: same(), now: same(), ..change(0, 3, true) };
        assert_eq!(without(&[renamed], &[b"ren"]), b"ren");
    }
}
