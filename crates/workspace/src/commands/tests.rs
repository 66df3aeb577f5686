//! Spools and excerpts of them, on their own.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;

use super::{
    Excerption, Share,
    excerpt::{self, Excerpt},
    spool::{Follower, Piece, Place, Spool, SpoolLimits, SpoolWriter, kept_outputs},
};
use crate::{error::Error, session::OutputKind};

/// A head of 10 bytes and a tail of 8 segments of 4.
const SMALL: SpoolLimits = SpoolLimits { head_bytes: 10, tail_bytes: 32 };

fn place(directory: &Path) -> Place {
    Place::new(directory, 7, OutputKind::Stdout)
}

fn opened(directory: &TempDir) -> (Arc<Spool>, SpoolWriter) {
    let spool = Arc::new(Spool::open(place(directory.path()), SMALL).unwrap());
    (Arc::clone(&spool), SpoolWriter::new(spool))
}

async fn append(writer: &mut SpoolWriter, text: &str) {
    writer.append(Bytes::copy_from_slice(text.as_bytes())).await;
}

/// Everything there is, with `<n>` for n dropped bytes.
async fn all(spool: &Arc<Spool>) -> String {
    let mut follower = Follower::new(Arc::clone(spool), 0);
    let mut text = String::new();
    while follower.position() < spool.next() {
        let position = follower.position();
        match follower.next().await.unwrap().unwrap() {
            Piece::Kept(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            Piece::Dropped { until } => text.push_str(&format!("<{}>", until - position)),
        }
    }
    text
}

/// `00112233…`, so many characters.
fn counted(bytes: usize) -> String {
    (0..bytes).map(|at| char::from(b'a' + u8::try_from(at / 2 % 26).unwrap())).collect()
}

#[tokio::test]
async fn a_spool_keeps_its_head_and_its_tail() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut writer) = opened(&directory);
    let text = counted(1000);
    for chunk in text.as_bytes().chunks(7) {
        append(&mut writer, std::str::from_utf8(chunk).unwrap()).await;
    }
    assert_eq!(spool.next(), 1000);
    let record = spool.record();
    assert!((38..=42).contains(&record.kept_bytes), "{record:?}");
    assert_eq!(record.total_bytes, 1000);
    let kept = all(&spool).await;
    let tail = usize::try_from(record.kept_bytes).unwrap() - 10;
    assert_eq!(kept, format!("{}<{}>{}", &text[..10], 990 - tail, &text[1000 - tail..]));
}

#[tokio::test]
async fn whoever_comes_next_goes_on_where_a_spool_stands() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["0123456", "789abc", "", "defg"] {
        let (_, mut writer) = opened(&directory);
        append(&mut writer, text).await;
    }
    let (spool, mut writer) = opened(&directory);
    assert_eq!(all(&spool).await, "0123456789abcdefg");
    writer.skip_to(20);
    append(&mut writer, "xyz").await;
    drop((spool, writer));
    let (spool, _) = opened(&directory);
    assert_eq!(all(&spool).await, "0123456789abcdefg<3>xyz");
    assert_eq!(spool.record().dropped_bytes(), 3);
}

#[tokio::test]
async fn a_follower_that_lags_holds_up_the_writer_until_it_goes_or_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut writer) = opened(&directory);
    let mut follower = Follower::new(Arc::clone(&spool), 0);
    let writing = tokio::spawn(async move {
        append(&mut writer, &counted(500)).await;
        writer
    });
    // It is held up before it drops anything, so all of it is seen.
    let mut seen = String::new();
    while seen.len() < 500 {
        match follower.next().await.unwrap().unwrap() {
            Piece::Kept(bytes) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            Piece::Dropped { until } => panic!("dropped up to {until}"),
        }
    }
    assert_eq!(seen, counted(500));
    let mut writer = writing.await.unwrap();

    let writing = tokio::spawn(async move {
        append(&mut writer, &counted(500)).await;
        writer
    });
    drop(follower);
    let mut writer = writing.await.unwrap();

    let _slow = Follower::new(Arc::clone(&spool), 0);
    spool.release();
    append(&mut writer, &counted(500)).await;
    assert_eq!(spool.next(), 1500);
}

#[tokio::test]
async fn a_follower_waits_for_more_and_ends_with_the_spool() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut writer) = opened(&directory);
    let mut follower = Follower::new(Arc::clone(&spool), 2);
    let (piece, ()) = tokio::join!(follower.next(), append(&mut writer, "0123"));
    assert_eq!(piece.unwrap(), Some(Piece::Kept(Bytes::from_static(b"23"))));
    let (end, ()) = tokio::join!(follower.next(), async { spool.end(4) });
    assert_eq!(end.unwrap(), None);
}

#[tokio::test]
async fn outputs_without_records_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let (_, mut writer) = opened(&directory);
    append(&mut writer, &counted(20)).await;
    let found = kept_outputs(directory.path());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].sequence, found[0].stdout.kept_bytes, found[0].stderr.kept_bytes), (7, 20, 0));
    place(directory.path()).remove().unwrap();
    place(directory.path()).remove().unwrap();
    assert!(kept_outputs(directory.path()).is_empty());
}

async fn excerpt(directory: &TempDir, which: Excerption, most_bytes: u64) -> Excerpt {
    let spool =
        Spool::open(place(directory.path()), SpoolLimits { head_bytes: 1 << 20, tail_bytes: 8 << 20 });
    excerpt::take(Arc::new(spool.unwrap()), which, most_bytes, true).await.unwrap()
}

fn texts(excerpt: &Excerpt) -> Vec<(Option<u64>, &str)> {
    let text =
        |passage: &super::Passage| -> &str { std::str::from_utf8(&passage.bytes).unwrap().to_owned().leak() };
    excerpt.passages.iter().map(|passage| (passage.line, text(passage))).collect()
}

/// 1000 lines `line 1\n` … with a gap after the first five hundred.
async fn lines() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let spool =
        Spool::open(place(directory.path()), SpoolLimits { head_bytes: 1 << 20, tail_bytes: 8 << 20 });
    let spool = Arc::new(spool.unwrap());
    let mut writer = SpoolWriter::new(Arc::clone(&spool));
    let text =
        |range: std::ops::RangeInclusive<u32>| range.map(|n| format!("line {n}\n")).collect::<String>();
    append(&mut writer, &text(1..=500)).await;
    writer.skip_to(spool.next() + 100);
    append(&mut writer, &text(501..=1000)).await;
    directory
}

#[tokio::test]
async fn bytes_are_addressed_from_both_ends() {
    let directory = lines().await;
    let first = excerpt(&directory, Excerption::From(5), 8).await;
    assert_eq!(texts(&first), [(None, "1\nline 2")]);
    assert_eq!((first.next, first.total_bytes - first.kept_bytes), (Some(13), 100));
    let end = excerpt(&directory, Excerption::End, 10).await;
    assert_eq!((texts(&end), end.next), (vec![(None, "line 1000\n")], None));
    // The gap is seen as two passages.
    let all = excerpt(&directory, Excerption::From(0), u64::MAX).await;
    assert_eq!(all.passages.len(), 2);
    assert_eq!(all.passages[1].offset - all.passages[0].bytes.len() as u64, 100);
    let beyond = excerpt(&directory, Excerption::From(1 << 40), 10).await;
    assert!(beyond.passages.is_empty() && beyond.next.is_none());
}

#[tokio::test]
async fn lines_are_addressed_by_number_and_from_the_end() {
    let directory = lines().await;
    let some = excerpt(&directory, Excerption::Lines { first: 499, count: Some(3) }, 1000).await;
    assert_eq!(texts(&some), [(Some(499), "line 499\nline 500\n"), (Some(501), "line 501\n")]);
    assert_eq!(some.next, Some(502));
    let last = excerpt(&directory, Excerption::LastLines(2), 1000).await;
    assert_eq!((texts(&last), last.next), (vec![(Some(999), "line 999\nline 1000\n")], None));
    let bounded = excerpt(&directory, Excerption::Lines { first: 1, count: None }, 16).await;
    assert_eq!((texts(&bounded), bounded.next), (vec![(Some(1), "line 1\nline 2\n")], Some(3)));
    // A line longer than the bound is shown in part, and passed.
    let tiny = excerpt(&directory, Excerption::Lines { first: 1, count: None }, 3).await;
    assert_eq!((texts(&tiny), tiny.passages[0].cut, tiny.next), (vec![(Some(1), "lin")], true, Some(2)));
}

#[tokio::test]
async fn lines_are_found_by_a_pattern() {
    let directory = lines().await;
    let matching_of = |pattern: &str, first, share| Excerption::Matching {
        pattern: pattern.to_owned(),
        ignore_case: true,
        first,
        share,
    };
    let matching = |pattern: &str, first| matching_of(pattern, first, Share::All);
    let found = excerpt(&directory, matching("^LINE .*99$", 1), 30).await;
    assert_eq!(
        texts(&found),
        [(Some(99), "line 99\n"), (Some(199), "line 199\n"), (Some(299), "line 299\n")]
    );
    let next = found.next.unwrap();
    let rest = excerpt(&directory, matching("^line .*99$", next), 1000).await;
    assert_eq!(rest.passages.first().unwrap().line, Some(399));
    assert_eq!((rest.passages.len(), rest.next), (7, None));
    let numbers = |excerpt: &Excerpt| -> Vec<u64> {
        excerpt.passages.iter().filter_map(|passage| passage.line).collect()
    };
    let first = excerpt(&directory, matching_of("99$", 150, Share::First(2)), 1000).await;
    assert_eq!((numbers(&first), first.next), (vec![199, 299], Some(399)));
    let enough = excerpt(&directory, matching_of("99$", 950, Share::First(2)), 1000).await;
    assert_eq!((numbers(&enough), enough.next), (vec![999], None));
    let last = excerpt(&directory, matching_of("99$", 1, Share::Last(2)), 1000).await;
    assert_eq!((numbers(&last), last.next), (vec![899, 999], None));
    let more_than_all = excerpt(&directory, matching_of("99$", 1, Share::Last(11)), 1000).await;
    assert_eq!(more_than_all.passages.len(), 10);

    let spool = Arc::new(Spool::open(place(directory.path()), SMALL).unwrap());
    let refused = excerpt::take(spool, matching("(", 1), 10, true).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "pattern", .. })), "{refused:?}");
}

#[tokio::test]
async fn one_endless_line_is_no_burden() {
    let directory = tempfile::tempdir().unwrap();
    let spool =
        Spool::open(place(directory.path()), SpoolLimits { head_bytes: 1 << 20, tail_bytes: 8 << 20 });
    let mut writer = SpoolWriter::new(Arc::new(spool.unwrap()));
    for _ in 0..40 {
        append(&mut writer, &"x".repeat(64 << 10)).await;
    }
    append(&mut writer, "\nafter\n").await;
    let lines = excerpt(&directory, Excerption::Lines { first: 1, count: None }, 1 << 20).await;
    assert_eq!(lines.passages.len(), 2);
    assert_eq!((lines.passages[0].bytes.len(), lines.passages[0].cut), (64 << 10, true));
    assert_eq!((lines.passages[1].line, lines.passages[1].bytes.as_slice()), (Some(2), &b"after\n"[..]));
}
