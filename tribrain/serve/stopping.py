"""How a service stops when it is asked to, also while it waits for Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

_STOP_LOOK_S, _STOP_LOOKS = 5.0, 12
"""Seconds between looks for the broker while Faust stops, and the largest number of looks."""

_T = TypeVar("_T")


class Stopped(Exception):
    """The service was asked to stop before its work was done."""


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``. Once ``stop`` is set, the work is cancelled, and Stopped is raised."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not doing.done():
        doing.cancel()
        await asyncio.wait({doing})
    if doing.cancelled():
        raise Stopped
    return doing.result()


async def stopped(
    stop: Awaitable[object],
    look: Callable[[], Awaitable[None]],
    *,
    every_s: float = _STOP_LOOK_S,
    most: int = _STOP_LOOKS,
) -> None:
    """Wait for ``stop``; ``look`` is called whenever it has not ended for another ``every_s`` seconds.

    If the broker goes away meanwhile, Faust's consumer thread can die and leave its stop waiting for ever.
    Raises RuntimeError after ``most`` looks.
    """
    stopping = asyncio.ensure_future(stop)
    for _ in range(most):
        done, _ = await asyncio.wait({stopping}, timeout=every_s)
        if done:
            stopping.result()
            return
        await look()
    raise RuntimeError(f"Faust has not stopped within {most * every_s:g} s")
