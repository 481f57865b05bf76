"""When a worker publishes what its models have learnt, and what it commits."""

from __future__ import annotations

from collections.abc import Sequence

from streams.messages.checkpoints import Recovery
from streams.messages.contracts import Checkpoint, PairMessage
from streams.messages.stored import Outgoing, StoredMessage
from streams.worker.effects import Effect, Lookup, Open, PublishSnapshot, Recall, SaveCheckpoint, Send
from streams.worker.pair_side import Pace, PairSide
from streams.worker.stages import Learnt
from tests.factories import pair

_PACE = Pace(
    snapshot_every_pairs=10, snapshot_every_s=1.0, checkpoint_every_pairs=1_000, checkpoint_every_s=30.0
)


class Stage:
    """Learns everything; taking a snapshot or a checkpoint takes ``cost_s`` on its clock."""

    def __init__(self, cost_s: float = 0.0) -> None:
        self.cost_s = cost_s
        self.cpu_s = 0.0
        self.news = True

    def read(self, message: StoredMessage) -> PairMessage | Outgoing | None:
        assert message.key is not None
        return pair({"a.b": 1.0}, {"a.b": 0.0}, model=message.key.decode())

    def restore(self, model: str, recovery: Recovery) -> None:
        pass

    def learn(self, model: str, messages: Sequence[tuple[StoredMessage, PairMessage]]) -> Learnt:
        return Learnt(len(messages), changed=self.news)

    def take_snapshot(self, model: str) -> Outgoing | None:
        self.cpu_s += self.cost_s
        return Outgoing("snapshots", model.encode(), b"")

    def checkpoint(self, model: str) -> Checkpoint:
        self.cpu_s += self.cost_s
        return Checkpoint(model=model, version=1, snapshot="", state={})

    def forget(self) -> None:
        pass


def side_of(stage: Stage) -> PairSide:
    side = PairSide(stage, _PACE, cpu_s=lambda: stage.cpu_s)
    side.assigned(1)
    return side


def messages(*models: str, start: int = 0) -> list[StoredMessage]:
    return [
        StoredMessage(
            topic="pairs", partition=0, offset=start + n, timestamp_ms=0, key=model.encode(), value=b"x"
        )
        for n, model in enumerate(models)
    ]


def opened(side: PairSide, *models: str) -> None:
    side.read(1, messages(*models), 0.0)
    for model in models:
        side.opened(1, model, Recovery(None, 0), 0.0)


def kinds(effects: Sequence[Effect]) -> list[tuple[type[Effect], str]]:
    return [
        (type(effect), effect.model) for effect in effects if not isinstance(effect, Send | Recall | Lookup)
    ]


def test_what_comes_before_a_model_is_open_is_learnt_once_it_is() -> None:
    side = side_of(Stage())
    assert kinds(side.read(1, messages(*["m"] * 10), 0.0)) == [(Open, "m")]
    assert side.waiting_bytes == 10
    assert kinds(side.opened(1, "m", Recovery(None, 0), 0.0)) == [(PublishSnapshot, "m")]
    assert side.waiting_bytes == 0


def test_a_model_that_learnt_nothing_publishes_nothing() -> None:
    stage = Stage()
    stage.news = False
    side = side_of(stage)
    opened(side, "m")
    assert side.tick(1_000.0) == []
    assert side.positions.to_commit() == {0: 1}


def test_a_snapshot_is_due_after_so_many_pairs_or_so_much_time() -> None:
    side = side_of(Stage())
    opened(side, "m")
    assert side.tick(0.9) == []
    assert kinds(side.tick(1.0)) == [(PublishSnapshot, "m")]
    side.published(1, "m", took_s=0.0, now_s=1.0)
    assert side.read(1, messages(*["m"] * 9, start=1), 1.5) == []
    assert kinds(side.read(1, messages("m", start=10), 1.5)) == [(PublishSnapshot, "m")]


def test_a_model_publishes_one_thing_after_the_other_and_never_waits_for_another_model() -> None:
    side = side_of(Stage())
    opened(side, "m", "other")
    assert len(side.tick(1.0)) == 2
    side.published(1, "other", took_s=0.0, now_s=1.0)
    effects = side.read(1, messages(*["m", "other"] * 10, start=2), 1.5)
    assert kinds(effects) == [(PublishSnapshot, "other")]


def test_what_comes_while_a_snapshot_is_published_waits_from_its_taking_on_and_not_from_its_end() -> None:
    side = side_of(Stage())
    opened(side, "m")
    side.tick(1.0)
    side.read(1, messages(*["m"] * 10, start=1), 1.01)
    assert side.published(1, "m", took_s=0.0, now_s=1.05) == []
    assert kinds(side.tick(1.055)) == [(PublishSnapshot, "m")]


def test_publishing_takes_at_most_its_share_of_the_time_however_large_the_state() -> None:
    stage = Stage(cost_s=2.0)
    side = side_of(stage)
    opened(side, "m", "other")
    now_s, offset, begun_s = 0.0, 2, 0.0
    while now_s < 20_000.0:
        now_s, offset = now_s + 0.5, offset + 20
        for effect in side.read(1, messages(*["m", "other"] * 10, start=offset), now_s):
            assert isinstance(effect, PublishSnapshot | SaveCheckpoint)
            done = side.saved if isinstance(effect, SaveCheckpoint) else side.published
            done(1, effect.model, took_s=1.0, now_s=now_s)
            stage.cpu_s += 1.0
        begun_s = begun_s or (stage.cpu_s if now_s > 100.0 else 0.0)
    assert 0.02 < (stage.cpu_s - begun_s) / (now_s - 100.0) <= 0.05


def test_what_was_learnt_is_committed_once_a_checkpoint_with_it_is_on_kafka() -> None:
    side = side_of(Stage())
    opened(side, "m")
    assert side.positions.to_commit() == {0: 0}
    side.tick(1.0)
    side.published(1, "m", took_s=0.0, now_s=1.0)
    (effect,) = side.tick(31.0)
    assert isinstance(effect, SaveCheckpoint)
    assert effect.snapshot is not None
    side.read(1, messages("m", start=1), 31.0)
    assert side.positions.to_commit() == {0: 0}
    side.saved(1, "m", took_s=0.0, now_s=31.0)
    assert side.positions.to_commit() == {0: 1}  # what came after the checkpoint is not in it


def test_before_it_stops_a_worker_saves_what_no_checkpoint_has() -> None:
    side = side_of(Stage())
    opened(side, "m")
    assert kinds(side.last_words()) == [(SaveCheckpoint, "m")]


def test_an_answer_from_before_a_rebalance_changes_nothing() -> None:
    side = side_of(Stage())
    opened(side, "m")
    side.last_words()
    side.revoked()
    side.assigned(2)
    side.read(2, messages("m"), 40.0)
    assert side.saved(1, "m", took_s=0.0, now_s=40.0) == []
    assert side.opened(1, "m", Recovery(None, 0), 40.0) == []
    assert side.waiting_bytes == 1
    assert side.positions.to_commit() == {0: 0}


def test_an_update_is_unpublished_until_the_snapshot_that_has_it_is_on_kafka() -> None:
    side = side_of(Stage())
    opened(side, "m")
    side.read(1, messages(*["m"] * 4, start=10), 0.5)
    assert side.unpublished_s(0.75) == {"m": 0.75}  # what came first was learnt at 0
    assert kinds(side.tick(1.0)) == [(PublishSnapshot, "m")]
    side.read(1, messages("m", start=20), 1.5)
    assert side.unpublished_s(2.0) == {"m": 2.0}
    side.published(1, "m", took_s=0.0, now_s=2.0)
    assert side.unpublished_s(3.0) == {"m": 1.5}  # what came while it was published


def test_what_teaches_nothing_is_not_unpublished() -> None:
    stage = Stage()
    stage.news = False
    side = side_of(stage)
    opened(side, "m")
    assert side.unpublished_s(60.0) == {"m": 0.0}
    assert (side.pairs_learnt, side.updates) == (1, 0)


def test_pairs_and_updates_are_counted_over_assignments() -> None:
    side = side_of(Stage())
    opened(side, "m")
    side.revoked()
    side.assigned(2)
    side.read(2, messages("m", "m"), 0.0)
    side.opened(2, "m", Recovery(None, 0), 0.0)
    assert (side.pairs_learnt, side.updates) == (3, 2)


def test_the_first_message_that_waits_for_a_writer_is_known() -> None:
    side = side_of(Stage())
    assert side.first_waiting == {}
    side.read(1, messages("m", "n", start=5), 0.0)
    assert {number: first.offset for number, first in side.first_waiting.items()} == {0: 5}
    side.opened(1, "m", Recovery(None, 0), 0.0)
    assert side.first_waiting[0].offset == 6
    side.opened(1, "n", Recovery(None, 0), 0.0)
    assert side.first_waiting == {}
