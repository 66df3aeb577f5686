"""The first way in: the command line, each call a program of its own."""

from __future__ import annotations

import json
import pathlib
import shlex
import subprocess
from typing import Any


class CommandLine:
    """Follows blocks of lines for a shell, without one: `&` at the end of a line lets the next begin, `wait` waits."""

    language = "sh"

    def __init__(self, place: pathlib.Path) -> None:
        self.place, self.calls = place, 0

    def __enter__(self) -> CommandLine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def does(self, block: str) -> list[Any]:
        """What each call of the block gave."""
        begun: list[Line] = []
        for words in commands(block):
            if words == ["wait"]:
                continue
            self.calls += 1
            line = Line([word for word in words if word != "&"], self.place / f".call-{self.calls}")
            begun.append(line)
            if words[-1] != "&":
                line.process.wait()
        return [line.result() for line in begun]


class Line:
    """One line that runs. What it prints goes to a file, since nobody reads a pipe meanwhile."""

    def __init__(self, words: list[str], output: pathlib.Path) -> None:
        if words[0] != "pyro":
            raise AssertionError(f"{words[0]} is no call")
        # Flags stand anywhere before what is the guest's.
        end = words.index("--") if "--" in words else len(words)
        self.words, self.output = [*words[:end], "--json", *words[end:]], output
        with open(output, "w") as file:
            self.process = subprocess.Popen(self.words, cwd=output.parent, stdin=subprocess.DEVNULL, stdout=file)

    def result(self) -> Any:
        """What it printed, with its exit status beside it."""
        status = self.process.wait()
        result = json.loads(self.output.read_text())
        self.output.unlink()
        if result.get("ok") is False:
            raise AssertionError(f"{shlex.join(self.words)}: {result}")
        return {**result, "status": status}


def commands(block: str) -> list[list[str]]:
    """The lines of a block; one goes on while a quote is open."""
    found: list[list[str]] = []
    pending = ""
    for line in block.splitlines(keepends=True):
        pending += line
        try:
            words = shlex.split(pending)
        except ValueError:
            continue
        if words:
            found.append(words)
        pending = ""
    if pending:
        raise AssertionError(f"a quote stays open: {pending}")
    return found
