"""Preference pairs of one run: one implementation, fed live event by event or offline from a file.

Candidates are ranked by score, ties to the earlier iteration. With ``best_vs_rest``, each arrival leaves at
most one candidate newly outside the top k (itself or the one that it displaced), which is paired at once with
the whole top k. The end of the run adds the missing pairs between the final top k and the rest. A candidate
that has left the top k never returns. So every pair whose chosen side is in the final top k is one of the
offline export, and after the end the two sets are equal.

A revision of a run forms only the pairs with a side that was rescored in it. The others would repeat earlier
statements, and keep their ids.

A run's events alone determine the order of its pairs, because they are processed in the order of ``iter_idx``
whenever they arrive. So pairs can be numbered, and forming them again gives the same numbers.

Lacking a score is no advantage: candidates are ranked as in their run, and the gap of a pair is that of the
rewards that its two sides would have in a run with only these two (``trainers.pairs.critic_rewards``). So
later events can change a rank, but never reverse a pair.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from msgspec import Struct

from streams.errors import BadInput
from streams.messages.contracts import LabelSource, PairStrategy, PreferencePair, TraceEvent
from streams.messages.limits import MAX_ID_CHARS
from streams.messages.no_score import names_not_seen
from trainers.pairs.critic_rewards import Lowest, scores_of_video

_LONGEST_NAME = 64
"""Longest value, in characters, that a reward model can be named after."""
LONGEST_MODEL = MAX_ID_CHARS - 1 - _LONGEST_NAME
"""Longest name of a reward model, in characters, which leaves room for such a value."""
LIVE_SOURCES: tuple[LabelSource, ...] = ("critic", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRules:
    """Rules that decide which candidates of a run make a pair.

    ``min_gap`` is the least difference of the scores (0.03, as in TriBrain 0.6.2), ``top_k`` the number of
    best candidates that are compared with the rest, ``model`` the name of the reward model that the pairs are
    for. With ``model_by``, each value of this entry of a run's context (``task_family``) has its own model,
    ``model.value``. Raises BadInput.
    """

    strategy: PairStrategy = "best_vs_rest"
    min_gap: float = 0.03
    top_k: int = 1
    model: str = "default"
    model_by: str | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.model) <= LONGEST_MODEL:
            raise BadInput(
                f"the reward model's name has {len(self.model)} characters; expected 1 to {LONGEST_MODEL}"
            )
        if self.strategy not in get_args(PairStrategy):
            raise BadInput(
                f"the strategy is {self.strategy!r}; expected {' or '.join(get_args(PairStrategy))}"
            )
        if not 0.0 <= self.min_gap < math.inf:
            raise BadInput(f"min_gap is {self.min_gap}; expected a finite number of at least 0")
        if self.top_k < 1:
            raise BadInput(f"top_k is {self.top_k}; expected a whole number of at least 1")

    @property
    def as_text(self) -> str:
        """Everything that determines a run's pairs: equal texts mean equal pairs in the same order."""
        return f"{self.strategy} {self.min_gap!r} {self.top_k}"

    def model_of(self, event: TraceEvent) -> str:
        """The reward model that learns from the run of this event."""
        return self.model_in(event.context)

    def model_in(self, context: Mapping[str, Any]) -> str:
        """The reward model that learns from a run with this context.

        A value that is not a short text, a number or a truth value has no model of its own.
        """
        value = context.get(self.model_by) if self.model_by else None
        named = isinstance(value, str | int | float) and 0 < len(str(value)) <= _LONGEST_NAME
        return f"{self.model}.{value}" if named else self.model

    def learns(self, model: str) -> bool:
        """Whether runs can have this ``model`` under these rules."""
        return model == self.model or (self.model_by is not None and model.startswith(f"{self.model}."))


class _Candidate(Struct, frozen=True, gc=False):
    """The parts of an iteration that pairs need, so that an open run need not keep the event."""

    run_id: str
    task_id: str
    iter_idx: int
    prompt: str
    artifact: str
    critics: dict[str, float | None]
    not_seen: frozenset[str]
    goal: str
    context: dict[str, Any]
    own_context: dict[str, Any]
    rescored_in: int

    @classmethod
    def of(cls, event: TraceEvent) -> _Candidate:
        scores = event.critic_scores()
        return cls(
            event.run_id,
            event.task_id,
            event.iter_idx,
            event.prompt,
            event.artifact_path,
            scores,
            names_not_seen(event.critic_results) if None in scores.values() else frozenset(),
            event.goal_instruction,
            event.context,
            event.candidate_context,
            event.rescored_in,
        )


_Scored = tuple[float, int, _Candidate]
"""Sorts best first, by a candidate's negative score and its iteration, which is unique."""
_Match = tuple[_Scored, _Scored]
"""The chosen and the rejected candidate."""


class RunPairing:
    """The pairs of one run, formed as its events arrive in the order of ``iter_idx``."""

    def __init__(self, rules: PairingRules) -> None:
        self._rules = rules
        self._sources: tuple[_SourcePairing, ...] = ()
        self.model = rules.model
        self.task_id = ""
        self.n_candidates = 0

    def add(self, event: TraceEvent) -> list[PreferencePair]:
        """The pairs that this event completes: those of the critics' labels, then those of outcomes."""
        if not self._sources:  # the first iteration decides for the whole run
            self.model, self.task_id = self._rules.model_of(event), event.task_id
            self._sources = tuple(
                _SourcePairing(self._rules, self.model, source, event.revision) for source in LIVE_SOURCES
            )
        if event.overall_score is None:
            for source in self._sources:
                source.skip()
            return []
        self.n_candidates += 1
        candidate = _Candidate.of(event)
        critics, outcomes = self._sources
        pairs = critics.add(candidate, event.overall_score)
        outcome = event.outcome_score
        if outcome is None:
            outcomes.skip()
            return pairs
        return pairs + outcomes.add(candidate, outcome)

    def finish(self) -> list[PreferencePair]:
        """The pairs that the end of the run adds: the final top k over the rest, unless already formed."""
        return [pair for source in self._sources for pair in source.finish()]

    def final_pairs(self) -> list[PreferencePair]:
        """Pairs whose chosen side is in the final top k, best first; with ``adjacent``, all."""
        return [pair for source in self._sources for pair in source.final_pairs()]

    def mark(self) -> tuple[Any, ...]:
        """Argument of ``back_to``; its cost does not depend on the run's length."""
        return (
            self._sources,
            self.model,
            self.task_id,
            self.n_candidates,
            [source.mark() for source in self._sources],
        )

    def back_to(self, mark: tuple[Any, ...]) -> None:
        """Return to the state at the mark, undoing what was added since."""
        self._sources, self.model, self.task_id, self.n_candidates, marks = mark
        for source, its_mark in zip(self._sources, marks, strict=True):
            source.back_to(its_mark)


def pairs_of_run(events: Iterable[TraceEvent], rules: PairingRules) -> list[PreferencePair]:
    """The pairs of a finished run, as ``tribrain pairs export`` writes them.

    Critic-labelled pairs come first, in the order of TriBrain 0.6.2: by rank of the chosen side, then of
    the rejected one (``best_vs_rest``), or by iteration (``adjacent``).
    """
    pairing = RunPairing(rules)
    for event in sorted(events, key=lambda e: e.iter_idx):
        pairing.add(event)
    return pairing.final_pairs()


class _SourcePairing:
    """Pairs by the scores of one label source; skips candidates without such a score."""

    def __init__(self, rules: PairingRules, model: str, source: LabelSource, revision: int) -> None:
        self._rules = rules
        self._model = model
        self._source = source
        self._revision = revision
        self._meta = {"mode": rules.strategy}
        self._top: tuple[_Scored, ...] = ()
        self._lowest = Lowest()
        # Both only grow, so a mark can be their lengths.
        self._all: list[_Scored] = []
        self._formed: dict[tuple[int, int], _Match] = {}
        self._previous: _Scored | None = None

    def add(self, candidate: _Candidate, score: float) -> list[PreferencePair]:
        scored = (-score, candidate.iter_idx, candidate)
        if self._rules.strategy == "adjacent":
            previous, self._previous = self._previous, scored
            return self._form([(scored, previous)] if previous else [])
        self._all.append(scored)
        outside = [*self._top, scored]
        anew = self._takes_in(candidate)
        self._top = tuple(self._ranked(self._all if anew else outside)[: self._rules.top_k])
        outside = [one for one in self._ranked(outside) if one not in self._top]
        return self._form([(chosen, rejected) for rejected in outside for chosen in self._top])

    def skip(self) -> None:
        """Skip a candidate without a score of this source, which separates its neighbours."""
        self._previous = None

    def finish(self) -> list[PreferencePair]:
        return self._form(self._final())

    def final_pairs(self) -> list[PreferencePair]:
        if self._rules.strategy == "adjacent":
            return [self._pair(chosen, rejected) for chosen, rejected in self._formed.values()]
        return [
            self._pair(chosen, rejected)
            for chosen, rejected in self._final()
            if self._is_wide(chosen, rejected)
        ]

    def mark(self) -> tuple[Any, ...]:
        return self._top, self._lowest, len(self._all), len(self._formed), self._previous

    def back_to(self, mark: tuple[Any, ...]) -> None:
        self._top, self._lowest, n_all, n_formed, self._previous = mark
        del self._all[n_all:]
        while len(self._formed) > n_formed:
            self._formed.popitem()

    def _final(self) -> list[_Match]:
        if not self._top:
            return []
        rest = [one for one in self._ranked(self._all) if one not in self._top]
        return [(best, other) for best in self._top for other in rest]

    def _takes_in(self, candidate: _Candidate) -> bool:
        """Whether this may change the ranking of earlier candidates."""
        if self._source != "critic":
            return False
        before, self._lowest = self._lowest, self._lowest.including(candidate.critics, candidate.not_seen)
        return self._lowest.is_lacked and self._lowest is not before

    def _ranked(self, scored: Iterable[_Scored]) -> list[_Scored]:
        """The candidates, best first."""
        if not self._lowest.is_lacked:
            return sorted(scored)
        return sorted(scored, key=lambda one: (-self._lowest.reward(one[2].critics, -one[0]), one[1]))

    def _form(self, candidates: list[_Match]) -> list[PreferencePair]:
        new = []
        for chosen, rejected in candidates:
            key = (chosen[1], rejected[1])
            if key not in self._formed and self._is_wide(chosen, rejected):
                self._formed[key] = (chosen, rejected)
                if _revision_of(chosen, rejected) == self._revision:
                    new.append(self._pair(chosen, rejected))
        return new

    def _is_wide(self, chosen: _Scored, rejected: _Scored) -> bool:
        better, worse = self._scores(chosen, rejected)
        # The same comparison as in 0.6.2, so that rounding gives the same result.
        return better - worse >= self._rules.min_gap and (
            self._source != "critic" or _can_be_compared(chosen[2], rejected[2])
        )

    def _scores(self, chosen: _Scored, rejected: _Scored) -> tuple[float, float]:
        """Scores of both sides, from the label source; see the top of this module."""
        if self._source != "critic" or _are_judged_alike(chosen[2], rejected[2]):
            return -chosen[0], -rejected[0]
        lowest = Lowest()
        for side in (chosen[2], rejected[2]):
            lowest = lowest.including(side.critics, side.not_seen)
        return lowest.reward(chosen[2].critics, -chosen[0]), lowest.reward(rejected[2].critics, -rejected[0])

    def _pair(self, chosen: _Scored, rejected: _Scored) -> PreferencePair:
        best, other = chosen[2], rejected[2]
        better, worse = self._scores(chosen, rejected)
        identity = f"{best.run_id}\0{self._rules.strategy}\0{self._source}\0{best.iter_idx}\0{other.iter_idx}"
        revision = _revision_of(chosen, rejected)
        if revision:
            identity += f"\0{revision}"
        return PreferencePair(
            pair_id=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
            run_id=best.run_id,
            task_id=best.task_id,
            model=self._model,
            label_source=self._source,
            gap=better - worse,
            goal_instruction=best.goal or other.goal,
            chosen_prompt=best.prompt,
            rejected_prompt=other.prompt,
            chosen_artifact=best.artifact,
            rejected_artifact=other.artifact,
            chosen_score=better,
            rejected_score=worse,
            chosen_critics=best.critics,
            rejected_critics=other.critics,
            context=best.context,
            chosen_context=best.own_context,
            rejected_context=other.own_context,
            meta={**self._meta, "revision": revision} if revision else self._meta,
        )


def _revision_of(chosen: _Scored, rejected: _Scored) -> int:
    """The revision of its run in which both first had their present scores."""
    return max(chosen[2].rescored_in, rejected[2].rescored_in)


def _are_judged_alike(one: _Candidate, other: _Candidate) -> bool:
    """Quick check that neither lacks a score that the other has."""
    return (
        one.critics.keys() == other.critics.keys()
        and None not in one.critics.values()
        and None not in other.critics.values()
    )


def _can_be_compared(one: _Candidate, other: _Candidate) -> bool:
    """Whether some critic judged both, or none is known for either."""
    if _are_judged_alike(one, other):
        return True
    of_one, of_other = scores_of_video(one.critics).keys(), scores_of_video(other.critics).keys()
    return bool(of_one & of_other) or of_one == of_other
