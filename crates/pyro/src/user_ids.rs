//! Which user ids virtual machines can have: a range, one id for each, when root starts them.
//!
//! Root of a container without privileges is root over the ids only that the container was given, often 65536 of
//! them; the usual range is not among them, and another one is chosen.

use std::ops::RangeInclusive;

use pyro_api::{ErrorBody, ErrorCode};

/// The range on a host of one's own: far above persons and services, and above what containers are given.
pub(crate) const USUAL: RangeInclusive<u32> = 2_000_000..=2_065_535;

/// How many ids are taken where the usual range cannot be had; so many machines can live at once.
const MOST_CHOSEN: u32 = 4096;

/// The largest id below `nobody` and below those that 16 bits cannot hold.
const LARGEST_CHOSEN: u32 = 65_533;

/// The ids for machines: those asked for, or a range that this process can use. An error if there is none.
pub(crate) fn for_machines(asked: Option<&RangeInclusive<u32>>) -> Result<RangeInclusive<u32>, ErrorBody> {
    // Without these files there are no user namespaces, and root has every id.
    let mapped =
        |path| std::fs::read_to_string(path).map_or_else(|_| vec![0..=u32::MAX], |text| parse(&text));
    // Each machine gets the group of the same number.
    choose(asked, &intersection(&mapped("/proc/self/uid_map"), &mapped("/proc/self/gid_map")))
}

fn choose(
    asked: Option<&RangeInclusive<u32>>,
    mapped: &[RangeInclusive<u32>],
) -> Result<RangeInclusive<u32>, ErrorBody> {
    let usable = |range: &RangeInclusive<u32>| {
        mapped.iter().any(|extent| extent.contains(range.start()) && extent.contains(range.end()))
    };
    if let Some(asked) = asked {
        let (first, last) = (asked.start(), asked.end());
        return Some(asked.clone()).filter(usable).ok_or_else(|| {
            ErrorBody::new(
                ErrorCode::HostRequirement,
                format!("PYRO_VMM_UIDS is {first}-{last}, not all of which exist here"),
            )
            .with_hint(format!(
                "unset PYRO_VMM_UIDS, or set it to a range among the ids that exist here: {}",
                listed(mapped)
            ))
        });
    }
    if usable(&USUAL) {
        return Ok(USUAL);
    }
    let highest = mapped
        .iter()
        .filter(|extent| *extent.start() <= LARGEST_CHOSEN)
        .map(|extent| (*extent.start()).max(1)..=(*extent.end()).min(LARGEST_CHOSEN))
        .filter(|extent| !extent.is_empty())
        .max_by_key(|extent| *extent.end());
    let chosen = highest.map(|extent| {
        let first = (*extent.end() + 1).saturating_sub(MOST_CHOSEN).max(*extent.start());
        first..=*extent.end()
    });
    chosen.ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::HostRequirement,
            format!("there are no user ids for machines: only {} exist here", listed(mapped)),
        )
        .with_hint(
            "give this container more user ids (see subuid(5)), and set PYRO_VMM_UIDS to choose among them",
        )
    })
}

fn listed(mapped: &[RangeInclusive<u32>]) -> String {
    let extents: Vec<String> =
        mapped.iter().map(|extent| format!("{}-{}", extent.start(), extent.end())).collect();
    extents.join(", ")
}

/// The ids of this namespace, sorted, from lines of first id, first id outside and count; neighbours are joined.
fn parse(map: &str) -> Vec<RangeInclusive<u32>> {
    let extent = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        let (first, _outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(first..=first.checked_add(count.checked_sub(1)?)?)
    };
    let mut extents: Vec<RangeInclusive<u32>> = map.lines().filter_map(extent).collect();
    extents.sort_by_key(|extent| *extent.start());
    let mut joined: Vec<RangeInclusive<u32>> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(*extent.start()) => {
                *last = *last.start()..=*extent.end();
            }
            _ => joined.push(extent),
        }
    }
    joined
}

fn intersection(one: &[RangeInclusive<u32>], other: &[RangeInclusive<u32>]) -> Vec<RangeInclusive<u32>> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    pairs
        .map(|(a, b)| *a.start().max(b.start())..=*a.end().min(b.end()))
        .filter(|extent| !extent.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_itself_has_the_usual_range() {
        let mapped = parse("         0          0 4294967295\n");
        assert_eq!(choose(None, &mapped).unwrap(), USUAL);
        assert_eq!(choose(Some(&(5..=9)), &mapped).unwrap(), 5..=9);
    }

    #[test]
    fn a_container_has_the_highest_of_its_own() {
        // As rootless containers have it: root is the person, everybody else comes from subuid.
        let mapped = parse("0 1000 1\n1 100000 65536\n");
        assert_eq!(mapped, [0..=65_536]);
        assert_eq!(choose(None, &mapped).unwrap(), 61_438..=65_533);
        let few = parse("0 100000 1000");
        assert_eq!(choose(None, &few).unwrap(), 1..=999);
        let with_a_gap = parse("60000 7 100\n0 100000 1000");
        assert_eq!(choose(None, &with_a_gap).unwrap(), 60_000..=60_099);
    }

    #[test]
    fn what_does_not_exist_is_refused_with_the_variables_name() {
        let alone = parse("0 1000 1");
        for asked in [None, Some(100..=200)] {
            let error = choose(asked.as_ref(), &alone).unwrap_err();
            assert_eq!(error.code, ErrorCode::HostRequirement);
            assert!(error.hint.unwrap().contains("PYRO_VMM_UIDS"));
        }
    }

    #[test]
    fn groups_must_exist_too() {
        assert_eq!(intersection(&[0..=65_535], &[0..=0, 10..=99]), [0..=0, 10..=99]);
    }
}
