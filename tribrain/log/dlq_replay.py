"""Sends dead letters back to their topics; one that cannot be sent stops no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.dead_letters import DeadLetter, replay_of
from streams.messages.stored import Outgoing

_LEGAL = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9._-]{1,249}")


def replay_letters(
    settings: Settings, letters: Sequence[DeadLetter], on_replayed: Callable[[], object]
) -> dict[str, str]:
    """Replay the letters in their order. The names of those that could not be, with the reason."""
    failed: dict[str, str] = {}
    left: list[tuple[str, tuple[Outgoing, Outgoing]]] = []
    of_topic: dict[str, str] = {}
    for letter in letters:
        try:
            two = replay_of(letter, settings.dead_letters_topic)
        except BadInput as error:
            failed[letter.name] = str(error)
            continue
        topic = letter.source_topic
        if topic not in of_topic:
            of_topic[topic] = _what_is_wrong_with(settings, topic)
        if of_topic[topic]:
            failed[letter.name] = of_topic[topic]
        else:
            left.append((letter.name, two))
    while left:
        n_sent, reason = _send(settings, [message for _, two in left for message in two], on_replayed)
        if reason is None:
            break
        at = n_sent // 2
        failed[left[at][0]] = reason
        del left[: at + 1]
    return failed


def _what_is_wrong_with(settings: Settings, topic: str) -> str:
    """Why nothing can be written to this topic; empty where it can be. Asking a producer takes long."""
    if not _LEGAL.fullmatch(topic):
        return f"{topic[:250]!r} is no name of a topic"
    from streams.kafka.partitions import partitions_of

    try:
        partitions_of(settings, topic)
    except BadInput as error:
        return str(error)
    return ""


def _send(
    settings: Settings, messages: Sequence[Outgoing], on_replayed: Callable[[], object]
) -> tuple[int, str | None]:
    """Send the messages: how many were written, and why the next was not; None where all were."""
    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.writer import produce

    n_sent = 0
    try:
        for _ in produce(settings, messages):
            n_sent += 1
            if n_sent % 2 == 0:
                on_replayed()
    except BadInput as error:
        return n_sent, str(error)
    return n_sent, None
