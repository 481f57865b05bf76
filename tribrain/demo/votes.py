"""Votes in the demo: simulated annotators who give some, and a summary of everybody's."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Self

from runner.worlds.simulated_annotator import SimulatedAnnotator
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import RewardSnapshot
from streams.messages.votes import Vote
from streams.spool.queue import SpoolError
from tribrain.story.traced_run import true_quality

log = logging.getLogger(__name__)
_PAUSE_S = 0.25
"""Seconds between two votes of an annotator."""
_ENOUGH = 20
"""Number of votes that each annotator gives, even if the runs end first."""
_LATER_PAUSE_S = 3.0
"""Seconds between later votes, so that a visitor's votes still make a difference."""
_AGAIN_SHARE = 0.5
"""Share of pairs that were judged before, so that agreement is known after a few votes."""
_END_S = 2.0
PAGE = "tribrain-demo/1"


@dataclass(slots=True)
class _Given:
    """Counts of a simulated annotator's votes and errors."""

    votes: int = 0
    errors: int = 0
    is_idle: bool = False
    """Whether there was nothing to judge at the last attempt."""


class DemoVotes:
    """Follows all votes, and lets annotators vote, each in a thread, on pairs as the page chooses them."""

    def __init__(
        self, settings: Settings, out: Path, annotators: Sequence[SimulatedAnnotator], seed: int
    ) -> None:
        # Not at the top: they bring Kafka's client and the learner.
        from tribrain.ui.asking import Asker
        from tribrain.ui.state import open_state

        self._stack = ExitStack()
        runs = out / "runs"
        runs.mkdir(exist_ok=True)
        self._state = self._stack.enter_context(
            open_state(
                roots=[runs],
                settings=settings,
                model="default",
                dimensions=(),
                annotator="",
                key=os.urandom(32),
                state_dir=out / "annotators",
                cache=out / "annotators",
            )
        )
        self._ballots = self._state.ballots
        self._asker = Asker(
            self._state.library, self._ballots, self._state.snapshot, again_share=_AGAIN_SHARE, seed=seed
        )
        self._annotators = tuple(annotators)
        self._given = {each.name: _Given() for each in annotators}
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._vote_on, args=(each, Random(f"{seed} {each.name}")), name=each.name, daemon=True
            )
            for each in annotators
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._stack.close()

    def stop(self) -> None:
        """Stop all annotators."""
        self._closing.set()
        for thread in self._threads:
            thread.join(_END_S)

    @property
    def have_done_enough(self) -> bool:
        """Whether each annotator has given 20 votes or finds nothing more to judge."""
        return all(given.votes >= _ENOUGH or given.is_idle for given in self._given.values())

    def votes(self) -> list[Vote]:
        """Everybody's votes that were not taken back."""
        return self._ballots.standing()

    def _vote_on(self, annotator: SimulatedAnnotator, rng: Random) -> None:
        given = self._given[annotator.name]
        while not self._closing.wait(_PAUSE_S if given.votes < _ENOUGH else _LATER_PAUSE_S):
            try:
                given.is_idle = not self._vote_once(annotator, rng, given)
            except (BadInput, SpoolError) as error:
                log.warning("a vote of %s was not taken, and is not given: %s", annotator.name, error)

    def _vote_once(self, annotator: SimulatedAnnotator, rng: Random, given: _Given) -> bool:
        """Give one vote; whether there was a pair. Raises SpoolError and BadInput where it is not stored."""
        asked = self._asker.next(annotator.name, "")
        if asked is None:
            return False
        left, right = (self._quality(*side) for side in (asked.left, asked.right))
        answer, is_error = annotator.answer(left, right, rng)
        vote = Vote(
            vote_id=f"{rng.getrandbits(128):032x}",
            left_run_id=asked.left[0],
            left_iter_idx=asked.left[1],
            right_run_id=asked.right[0],
            right_iter_idx=asked.right[1],
            answer=answer,
            annotator=annotator.name,
            voted_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            rule=asked.rule,
            probability=asked.probability,
            page=PAGE,
            meta={"simulated": True},
        )
        assert self._state.live is not None
        self._state.live.outlet.send(vote)
        self._ballots.take(vote)
        given.votes += 1
        given.errors += is_error
        return True

    def _quality(self, run_id: str, iter_idx: int) -> float:
        run = self._state.library.run(run_id)
        quality = true_quality(run.folder, iter_idx) if run is not None and run.folder is not None else None
        if quality is None:
            raise BadInput(f"{run_id}, iteration {iter_idx}: its true quality is not known; leave it alone")
        return quality

    def summary(self, latest: RewardSnapshot | None) -> dict[str, Any]:
        """The entry in ``summary.json``: annotators, their agreement, and the weight of each."""
        from trainers.evidence.agreement import agreement

        votes = self.votes()
        alpha = agreement(votes).alpha if votes else None
        learnt = (latest.metrics.get("annotators") if latest is not None else None) or {}
        by_name = Counter(vote.annotator for vote in votes)
        simulated = {each.name: each for each in self._annotators}
        return {
            "votes": len(votes),
            "alpha": alpha.value if alpha is not None else None,
            "alpha_ci95": alpha.ci95 if alpha is not None else None,
            "annotators": [
                self._of_one(name, by_name[name], simulated.get(name), learnt.get(name))
                for name in sorted(by_name.keys() | simulated.keys())
            ],
        }

    def _of_one(
        self, name: str, n: int, simulated: SimulatedAnnotator | None, learnt: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        given = self._given.get(name)
        return {
            "name": name,
            "votes": n,
            "error_rate": simulated.error_rate if simulated is not None else None,
            "errors": given.errors if given is not None else None,
            "compared": learnt["compared"] if learnt else 0,
            "agreed": learnt["agreed"] if learnt else 0,
            "weight": learnt["weight"] if learnt else None,
        }
