"""Intervals `(begin, end)`; the end is not part of one."""

from __future__ import annotations

Interval = tuple[int, int]


def merged(intervals: list[Interval]) -> list[Interval]:
    """The same times in order, without overlaps; intervals that touch are joined."""
    result: list[Interval] = []
    for begin, end in sorted(intervals):
        if result and begin < result[-1][1]:
            result[-1] = (result[-1][0], end)
        else:
            result.append((begin, end))
    return result


def is_open(intervals: list[Interval], minute: int) -> bool:
    """Whether it is open at that minute."""
    return any(begin <= minute < end for begin, end in intervals)
