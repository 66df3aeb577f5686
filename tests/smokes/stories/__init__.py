"""What must come back at each step of a recipe, as data: one module for each story."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Story:
    """A recipe and what is wanted of it.

    `wanted` has, for each step, what each of its calls must give; `instead` says by language and step where one surface gives
    something else, because it does the step with another call. `profile` is the smallest that has its tools.
    """

    name: str
    wanted: list[list[Any]]
    afterwards: Callable[[pathlib.Path], None]
    profile: str = "workspace-core"
    instead: dict[tuple[str, int], list[Any]] = field(default_factory=dict)

    def wants(self, language: str, step: int) -> list[Any]:
        """Of that step, counted from 1."""
        return self.instead.get((language, step), self.wanted[step - 1])
