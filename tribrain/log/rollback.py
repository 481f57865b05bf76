"""Rolls a published model back to an earlier version, for the command and for the page."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.checkpoints import rollback_to
from streams.messages.codec import encode
from streams.messages.contracts import Checkpoint
from streams.messages.held import Held
from streams.messages.stored import Outgoing

if TYPE_CHECKING:
    from trainers.processing.relearn import OneLog


def held_of_model(settings: Settings, model: str) -> Held:
    """The snapshots and checkpoints of a model on their topic. Raises BadInput where no snapshot is there."""
    # Not at the top, here and below: Kafka's client and what learns take a second, and --help needs neither.
    from streams.snapshots.feed import read_held

    held = read_held(settings).get(model, Held())
    if not held.snapshots:
        raise BadInput(
            f"no snapshot of model {model!r} at {settings.bootstrap_servers}; is its trainer running?"
        )
    return held


def roll_back(settings: Settings, model: str, version: int, reason: str) -> int:
    """Write the event that takes a model back to ``version``; returns the version that it has now.

    Raises BadInput where it never had that version, or could not go on from it, and where the broker
    refuses the event. A version that is not stored is learnt again from the log, which takes time.
    """
    from streams.kafka.writer import produce
    from trainers.online.learner import OnlineLearner
    from trainers.processing.relearn import one_log, recipe_of_snapshot

    held = held_of_model(settings, model)
    newest = held.snapshots[-1][1]
    if version >= newest.version:
        raise BadInput(f"the newest version of model {model!r} is {newest.version}; give an earlier one")
    earlier = _checkpoint(settings, version, one_log(held))
    if earlier is None:
        raise BadInput(
            f"model {model!r} never had version {version}; tribrain log snapshots list shows some that it had"
        )
    # Where this raises, the trainer could not go on from that state, either.
    OnlineLearner.from_state(model, earlier.state).check_learner(recipe_of_snapshot(newest))
    event = rollback_to(earlier, reason)
    list(produce(settings, [Outgoing(settings.pairs_topic, model.encode(), encode(event))]))
    return newest.version


def _checkpoint(settings: Settings, version: int, log: OneLog) -> Checkpoint | None:
    """The state at this version: as stored, else learnt again; None where there never was one."""
    from streams.kafka.reader import read_topic
    from trainers.processing.relearn import learn_up_to

    for checkpoint in log.checkpoints():
        if checkpoint.version == version:
            return checkpoint
    with closing(read_topic(settings, settings.pairs_topic)) as recorded:
        return learn_up_to(recorded, version, log)
