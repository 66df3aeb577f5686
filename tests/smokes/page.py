"""A recipe page as data: its steps, each with one block for every surface."""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass, field

from .run import ROOT

SURFACES = ("sh", "json", "python")


@dataclass
class Step:
    """One step: its title, and its blocks by language."""

    title: str
    blocks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """What a recipe says: the project, how many calls it takes on each surface, and the steps."""

    name: str
    project: pathlib.Path
    calls: int
    steps: list[Step]


def read(name: str) -> Page:
    """The page of that use case."""
    text = (ROOT / f"docs/use-cases/{name}.md").read_text()
    calls = re.search(r"^- Calls: (\d+)$", text, re.MULTILINE)
    project = re.search(r"^- Project: `(.+?)`", text, re.MULTILINE)
    if not calls or not project:
        raise AssertionError(f"the page {name} does not say its project or its number of calls")
    return Page(name, ROOT / project[1], int(calls[1]), steps(text))


def steps(text: str) -> list[Step]:
    """Every section that begins with a number. A language stands in each once."""
    found: list[Step] = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        step = Step(title)
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL):
            if language in step.blocks:
                raise AssertionError(f"step {title!r} has two blocks of {language}")
            step.blocks[language] = block
        if set(step.blocks) != set(SURFACES) or not title.startswith(f"{len(found) + 1}. "):
            raise AssertionError(f"step {title!r} has {sorted(step.blocks)} and should be number {len(found) + 1}")
        found.append(step)
    return found
