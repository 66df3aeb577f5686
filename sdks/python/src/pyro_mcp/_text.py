"""Bytes in JSON. Arguments, paths and output of programs are bytes; JSON has only text.

Bytes that are UTF-8 travel as a string, any others as `{"base64": "…"}`. In Python they are a `str`, in which bytes that
are no UTF-8 stand as surrogates, as file names do: `os.fsencode` gives the bytes back. What is passed in may be a `str`
of this kind, `bytes`, or a path.
"""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence, Union

#: What can be sent where the contract has bytes.
Bytes = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
#: A shell line, or a program and its arguments.
Command = Union[str, bytes, Sequence[Bytes]]
#: A path on this host.
HostPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


def to_json(value: Bytes) -> str | dict[str, str]:
    """Bytes as they travel."""
    raw = os.fspath(value)
    if isinstance(raw, str):
        try:
            raw.encode("utf-8")
            return raw
        except UnicodeEncodeError:
            raw = raw.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64(raw)}


def base64(raw: bytes) -> str:
    """Standard base64."""
    from binascii import b2a_base64

    return b2a_base64(raw, newline=False).decode("ascii")


def from_json(value: object) -> object:
    """Bytes that came, as `str`; what is nothing of that kind stays as it is."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(encoded := value.get("base64"), str):
        from base64 import b64decode

        try:
            return b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
        except ValueError:
            return value
    return value


def command(value: Command) -> object:
    """A command as it travels: a string for a shell line, an array for an argument vector."""
    if isinstance(value, (str, bytes)):
        return to_json(value)
    return [to_json(argument) for argument in value]


def host_path(value: HostPath) -> str | dict[str, str]:
    """A path of this host as it travels. The daemon has another working directory, so it gets absolute ones."""
    path = os.fspath(value)
    return to_json(os.path.abspath(os.path.expanduser(path)))


def mode(value: int | str) -> str:
    """Permission bits as they travel."""
    return f"{value:04o}" if isinstance(value, int) else value


def bytes_list(values: Sequence[Bytes]) -> list[object]:
    """Several paths as they travel."""
    if isinstance(values, (str, bytes)):
        raise TypeError("expected a list of paths, not one")
    return [to_json(value) for value in values]


def bytes_map(values: Mapping[str, Bytes]) -> dict[str, object]:
    """Environment variables as they travel."""
    return {name: to_json(value) for name, value in values.items()}


def restore(result: Any, places: Sequence[Sequence[str]]) -> None:
    """Turns encoded bytes of a result into `str`, at the places where its type has bytes; `*` is every element."""
    for place in places:
        _restore(result, place)


def _restore(value: Any, place: Sequence[str]) -> None:
    name, rest = place[0], place[1:]
    if name == "*":
        keys: Any = range(len(value)) if isinstance(value, list) else list(value) if isinstance(value, dict) else ()
    elif isinstance(value, dict) and name in value:
        keys = (name,)
    else:
        return
    for key in keys:
        if rest:
            _restore(value[key], rest)
        else:
            value[key] = from_json(value[key])
