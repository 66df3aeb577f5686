"""Operations that take their time: files on their way, workspaces and environments being made.

Whoever is interrupted meanwhile has the daemon stop, and goes on when that is cleaned up.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, TypeVar

from . import _frames
from ._client import Client, Exchange
from ._errors import PyroError
from ._input import AsyncSource, Feeder
from ._operation import Operation

R = TypeVar("R")

ProgressWatcher = Callable[[Any], object]
Sink = Callable[[bytes], object]


async def work(
    client: Client,
    operation: Operation[R],
    values: Mapping[str, Any],
    on_progress: ProgressWatcher | None = None,
    sink: Sink | None = None,
    source: AsyncSource | None = None,
) -> R:
    """Asks for it and follows it to its end. Bytes that come go to the sink, those of the source are sent."""
    exchange = await client.stream(operation, values)
    feeder = None if source is None else Feeder(client.runtime, exchange, source)
    try:
        await _follow(client, exchange, operation, on_progress, sink)
    except PyroError:
        if feeder is not None and feeder.failure is not None:
            raise feeder.failure from None
        raise
    except BaseException:
        await _end(exchange)
        raise
    finally:
        exchange.close()
        if feeder is not None:
            await feeder.stop()
    if exchange.result is None:
        raise operation.lost("no result came")
    return exchange.result


async def _follow(
    client: Client,
    exchange: Exchange[R],
    operation: Operation[R],
    on_progress: ProgressWatcher | None,
    sink: Sink | None,
) -> None:
    while (frame := await exchange.next()) is not None:
        if frame.kind == _frames.STDOUT and sink is not None:
            data, take = frame.payload, sink
            await client.runtime.blocking(lambda: take(data))
        elif frame.kind == _frames.EVENT and on_progress is not None:
            event = operation.understand(frame.payload)
            if event.pop("event", None) == "progress":
                on_progress(event)


async def _end(exchange: Exchange[Any]) -> None:
    try:
        await exchange.cancel()
        while await exchange.next() is not None:
            pass
    except PyroError:
        # It was cancelled.
        pass
