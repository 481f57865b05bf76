"""Pairs as tasks of Label Studio: two videos side by side, without a hint of which was preferred."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from trainers.datasets.preferences import VideoPair

LABELLING_CONFIG = """\
<View>
  <Header value="Which video shows better what was asked for?"/>
  <Text name="goal" value="$goal"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1em">
    <View><Header size="4" value="A"/><Video name="video_a" value="$video_a"/></View>
    <View><Header size="4" value="B"/><Video name="video_b" value="$video_b"/></View>
  </View>
  <Choices name="preference" toName="goal" choice="single" required="true" showInLine="true">
    <Choice value="A"/>
    <Choice value="B"/>
    <Choice value="no difference"/>
  </Choices>
</View>
"""


def labelling_tasks(pairs: Iterable[VideoPair], video_prefix: str) -> list[dict[str, object]]:
    """Label Studio's JSON import format. Each pair of videos appears once, however many labels compare it.

    A hash of their ids decides which one is A. The task has run and iteration of both. ``video_prefix`` is
    put before the file names.
    """
    tasks: dict[tuple[str, str], dict[str, object]] = {}
    for pair in pairs:
        a, b = sorted((pair.chosen_id, pair.rejected_id), key=_by_lot)
        tasks.setdefault(
            (a, b),
            {
                "data": {
                    "goal": pair.found.goal,
                    "video_a": f"{video_prefix}{a}.mp4",
                    "video_b": f"{video_prefix}{b}.mp4",
                    "a": a,
                    "b": b,
                    **_places(pair, a),
                    "task_id": pair.found.pair.task_id,
                    "run_id": pair.found.pair.run_id,
                }
            },
        )
    return list(tasks.values())


def _places(pair: VideoPair, a: str) -> dict[str, object]:
    """Run and iteration of both videos, to match the answers with them later."""
    sides = (pair.chosen_place, pair.rejected_place)
    if a != pair.chosen_id:
        sides = sides[::-1]
    places: dict[str, object] = {}
    for name, place in zip("ab", sides, strict=True):
        if place is not None:
            places |= {f"{name}_run_id": place[0], f"{name}_iter_idx": place[1]}
    return places


def _by_lot(video_id: str) -> bytes:
    return hashlib.sha256(f"side\0{video_id}".encode()).digest()
