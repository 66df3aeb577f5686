"""Compares a result with what must be in it."""

from __future__ import annotations

import re
from typing import Any


def differences(wanted: Any, got: Any, at: str = "") -> list[str]:
    """Where `got` is not as wanted. A mapping wants only its own keys, a pattern is searched for, a list wants each element."""
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            return [f"{at}: no mapping but {got!r}"]
        return [
            found
            for key, value in wanted.items()
            for found in (differences(value, got[key], f"{at}.{key}") if key in got else [f"{at}.{key} is missing"])
        ]
    if isinstance(wanted, re.Pattern):
        return [] if wanted.search(str(got)) else [f"{at}: no {wanted.pattern!r} in {got!r}"]
    if isinstance(wanted, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(wanted) != len(got):
            return [f"{at}: {len(wanted)} wanted, got {got!r}"]
        return [found for index, (one, other) in enumerate(zip(wanted, got)) for found in differences(one, other, f"{at}[{index}]")]
    if callable(wanted):
        return [] if wanted(got) else [f"{at}: {got!r} is not as wanted"]
    return [] if wanted == got else [f"{at}: {wanted!r} wanted, got {got!r}"]
