//! Which layers of a disk are merged next. Decided from what there is, without doing anything.
//!
//! Only a run of layers is merged that every disk has whole or not at all: those of the workspace and of its snapshots. So what
//! was before is needed by nobody afterwards. Copying costs, and so:
//!
//! - a disk of few layers is left alone;
//! - no layer is copied but with others that are together as large: what is copied is in a layer twice as large afterwards, and a
//!   byte is copied as often as its layer can be doubled, however many snapshots there are;
//! - what relatives have too is left alone, since they keep theirs;
//! - of a disk of many layers none of that holds: it must get fewer.

use std::ops::Range;

use super::{disk::FrozenLayer, id::LayerId};

/// Layers of which a disk may have so many, and nothing is merged.
pub(super) const FEW_LAYERS: usize = 16;
/// Behind these it costs what it costs.
const MANY_LAYERS: usize = 64;

/// What a layer costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LayerCost {
    /// What its file takes on the host.
    pub(super) bytes: u64,
    /// Other workspaces have the file too.
    pub(super) is_shared: bool,
}

/// The layers of `disk` to merge next, at least two; none: not now. `snapshots` are the disks of all that is kept.
pub(super) fn next_run<'a>(
    disk: &[FrozenLayer],
    snapshots: impl IntoIterator<Item = &'a [FrozenLayer]>,
    costs: &[LayerCost],
) -> Option<Range<usize>> {
    if disk.len() <= FEW_LAYERS {
        return None;
    }
    let must = disk.len() > MANY_LAYERS;
    let borders: Vec<usize> = snapshots.into_iter().map(|other| shared_layers(disk, other)).collect();
    let mut best: Option<(Range<usize>, u64)> = None;
    for first in 0..disk.len() {
        let (mut bytes, mut largest) = (0_u64, 0);
        for last in first..disk.len() {
            let Some(cost) = costs.get(last) else { break };
            let is_open = last == first || !borders.contains(&last);
            if !is_open || (cost.is_shared && !must) {
                break;
            }
            bytes = bytes.saturating_add(cost.bytes);
            largest = largest.max(cost.bytes);
            let is_worth_it = must || largest <= bytes - largest;
            if last == first || !is_worth_it {
                continue;
            }
            let run = first..last + 1;
            if best.as_ref().is_none_or(|(known, known_bytes)| is_cheaper(&run, bytes, known, *known_bytes)) {
                best = Some((run, bytes));
            }
        }
    }
    best.map(|(run, _)| run)
}

/// Copies less for each layer that goes; of equals the longer one.
fn is_cheaper(run: &Range<usize>, bytes: u64, than: &Range<usize>, than_bytes: u64) -> bool {
    let cost = |bytes: u64, others: &Range<usize>| u128::from(bytes) * (others.len() as u128 - 1);
    let (mine, theirs) = (cost(bytes, than), cost(than_bytes, run));
    mine < theirs || (mine == theirs && run.len() > than.len())
}

/// How many layers two disks share, from the lowest on.
fn shared_layers(disk: &[FrozenLayer], other: &[FrozenLayer]) -> usize {
    disk.iter().zip(other).take_while(|(one, other)| one.id == other.id).count()
}

/// The disk with the merged layer instead of these, if it has them one over the other.
pub(super) fn with_merged(
    disk: &[FrozenLayer],
    run: &[Option<LayerId>],
    merged: &FrozenLayer,
) -> Option<Vec<FrozenLayer>> {
    let is_run = |layers: &[FrozenLayer]| layers.iter().map(|layer| &layer.id).eq(run);
    let at = disk.windows(run.len()).position(is_run)?;
    let mut disk = disk.to_vec();
    disk.splice(at..at + run.len(), [merged.clone()]);
    Some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspaces::frozen_file::FrozenFile;

    fn layer(number: usize) -> FrozenLayer {
        let [.., a, b] = number.to_be_bytes();
        let home = tempfile::NamedTempFile::new().unwrap();
        let id = LayerId::from_bytes([0, 0, 0, 0, a, b]);
        FrozenLayer { id: Some(id), file: FrozenFile::note(home.path()).unwrap() }
    }

    fn layers(numbers: Range<usize>) -> Vec<FrozenLayer> {
        numbers.map(layer).collect()
    }

    fn own(bytes: impl IntoIterator<Item = u64>) -> Vec<LayerCost> {
        bytes.into_iter().map(|bytes| LayerCost { bytes, is_shared: false }).collect()
    }

    #[test]
    fn few_layers_are_left_alone_and_a_run_without_snapshots_becomes_one() {
        let run = |count: usize| next_run(&layers(0..count), [], &own(vec![5; count]));
        assert_eq!(run(FEW_LAYERS), None);
        assert_eq!(run(FEW_LAYERS + 1), Some(0..FEW_LAYERS + 1));
    }

    #[test]
    fn no_run_goes_over_the_end_of_a_snapshot_or_over_the_place_where_another_disk_branches_off() {
        let disk = layers(0..30);
        let costs = own(vec![5; 30]);
        let ends = [&disk[..10], &disk[..12]];
        assert_eq!(next_run(&disk, ends, &costs), Some(12..30));
        let branch: Vec<_> = layers(0..20).into_iter().chain(layers(100..120)).collect();
        assert_eq!(next_run(&disk, [&disk[..1], branch.as_slice()], &costs), Some(1..20));
        let all = (1..=30).map(|end| &disk[..end]);
        assert_eq!(next_run(&disk, all, &costs), None);
    }

    #[test]
    fn a_large_layer_is_copied_only_with_as_much_or_when_there_are_too_many() {
        let costs = |count: usize| own((0..count).map(|at| if at == 0 { 1000 } else { 1 }));
        assert_eq!(next_run(&layers(0..30), [], &costs(30)), Some(1..30));
        let disk = layers(0..65);
        // Nothing but the large one and its neighbour may become one.
        let ends: Vec<_> = (2..=65).map(|end| &disk[..end]).collect();
        assert_eq!(next_run(&disk[..64], ends.iter().copied(), &costs(64)), None);
        assert_eq!(next_run(&disk, ends, &costs(65)), Some(0..2));
    }

    #[test]
    fn what_relatives_have_is_merged_only_when_there_are_too_many() {
        let costs = |count: usize, shared: usize| {
            let mut costs = own(vec![5; count]);
            costs[..shared].iter_mut().for_each(|cost| cost.is_shared = true);
            costs
        };
        assert_eq!(next_run(&layers(0..30), [], &costs(30, 20)), Some(20..30));
        assert_eq!(next_run(&layers(0..30), [], &costs(30, 30)), None);
        assert_eq!(next_run(&layers(0..65), [], &costs(65, 65)), Some(0..65));
    }

    /// A workspace that keeps its newest snapshots, for a long time.
    #[test]
    fn the_count_stays_small_and_a_byte_is_copied_a_logarithm_of_times() {
        for kept in [0, 8, 32] {
            let (mut disk, mut bytes, mut copied, mut most) = (Vec::new(), Vec::new(), 0, 0);
            for number in 0..2000_usize {
                disk.push(layer(number));
                bytes.push(1_u64);
                let newest = disk.len().saturating_sub(kept);
                loop {
                    let ends: Vec<_> =
                        (newest.min(disk.len())..=disk.len()).map(|end| &disk[..end]).collect();
                    let Some(run) = next_run(&disk, ends, &own(bytes.iter().copied())) else { break };
                    let sum: u64 = bytes[run.clone()].iter().sum();
                    copied += sum;
                    let ids: Vec<_> = disk[run.clone()].iter().map(|layer| layer.id.clone()).collect();
                    disk = with_merged(&disk, &ids, &layer(10_000 + number)).unwrap();
                    bytes.splice(run, [sum]);
                }
                most = most.max(disk.len());
            }
            assert!(most <= (kept + 12).max(FEW_LAYERS + 1), "{kept}: {most} layers");
            assert!(copied < 2000 * 11, "{kept}: {copied} of 2000 copied");
        }
    }

    #[test]
    fn a_disk_gets_the_merged_layer_only_when_it_has_the_whole_run() {
        let disk = layers(0..5);
        let merged = layer(9);
        let ids = |range: Range<usize>| layers(range).into_iter().map(|layer| layer.id).collect::<Vec<_>>();
        let got = with_merged(&disk, &ids(1..4), &merged).unwrap();
        let got: Vec<_> = got.into_iter().map(|layer| layer.id).collect();
        assert_eq!(got, [layer(0).id, merged.id.clone(), layer(4).id]);
        assert_eq!(with_merged(&disk[..3], &ids(1..4), &merged), None);
        assert_eq!(with_merged(&disk, &[layer(1).id, layer(3).id], &merged), None);
    }
}
