"""A trainer whose broker goes away while it stops ends all the same."""

from __future__ import annotations

import asyncio

import pytest

from tribrain.serve.stopping import stopped


class NoBroker(Exception):
    pass


def test_a_stop_that_never_ends_is_given_up_once_no_broker_answers() -> None:
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(looks))
        if len(looks) == 3:
            raise NoBroker

    async def main() -> None:
        await stopped(asyncio.Event().wait(), look, every_s=0.01)

    with pytest.raises(NoBroker):
        asyncio.run(main())
    assert looks == [0, 1, 2]


def test_a_stop_that_never_ends_is_given_up_though_the_broker_answers() -> None:
    async def look() -> None: ...

    async def main() -> None:
        await stopped(asyncio.Event().wait(), look, every_s=0.01, most=4)

    with pytest.raises(RuntimeError, match=r"Faust has not stopped within 0\.04 s"):
        asyncio.run(main())


def test_what_a_stop_raises_is_raised() -> None:
    async def stop() -> None:
        raise OSError("the producer is closed")

    async def look() -> None: ...

    with pytest.raises(OSError, match="the producer is closed"):
        asyncio.run(stopped(stop(), look))
