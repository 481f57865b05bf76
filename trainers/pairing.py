"""Preference pairs of one run: one implementation, fed live an event at a time or offline from a file.

Candidates are ranked by score, ties to the earlier iteration. With ``best_vs_rest``, each arrival leaves
at most one candidate newly outside the top k (itself or the one that it displaced), which is paired at
once with the whole top k; the end of the run adds what is missing between the final top k and the rest.
A candidate that has left the top k never returns, so every pair whose chosen side is in the final top k
is one of the offline export, and the end makes the two sets equal.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from streams.messages.contracts import LabelSource, PairStrategy, PreferencePair, TraceEvent

LIVE_SOURCES: tuple[LabelSource, ...] = ("critic", "outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRules:
    """Which candidates of a run make a pair.

    ``min_gap`` is the least difference of the scores (0.03, as in TriBrain 0.6.2), ``top_k`` how many best
    candidates are compared with the rest, ``model`` the name of the reward model that the pairs are for.
    With ``model_by``, every value of this entry of a run's context (``task_family``) has a model of its own,
    ``model.value``.
    """

    strategy: PairStrategy = "best_vs_rest"
    min_gap: float = 0.03
    top_k: int = 1
    model: str = "default"
    model_by: str | None = None

    def model_of(self, event: TraceEvent) -> str:
        """The reward model that learns from the run of this event."""
        value = event.context.get(self.model_by) if self.model_by else None
        return self.model if value is None else f"{self.model}.{value}"

    def learns(self, model: str) -> bool:
        """Whether ``model`` is one that runs can have under these rules."""
        return model == self.model or (self.model_by is not None and model.startswith(f"{self.model}."))


@dataclass(frozen=True, slots=True, order=True)
class _Candidate:
    """Sorts best first: higher score, then earlier iteration."""

    rank_key: tuple[float, int]
    event: TraceEvent = field(compare=False)

    @property
    def score(self) -> float:
        return -self.rank_key[0]

    @property
    def iter_idx(self) -> int:
        return self.event.iter_idx


class RunPairing:
    """The pairs of one run, formed while its events arrive in the order of ``iter_idx``."""

    def __init__(self, rules: PairingRules) -> None:
        self._rules = rules
        self._by_source: dict[LabelSource, _SourcePairing] = {}
        self.model = rules.model
        self.task_id = ""
        self.n_candidates = 0

    def add(self, event: TraceEvent) -> list[PreferencePair]:
        """The pairs that this event completes: those of the critics' labels, then those of outcomes."""
        if not self._by_source:  # the first iteration speaks for the whole run
            self.model, self.task_id = self._rules.model_of(event), event.task_id
            rules = replace(self._rules, model=self.model)
            self._by_source = {source: _SourcePairing(rules, source) for source in LIVE_SOURCES}
        self.n_candidates += event.overall_score is not None
        return [pair for source in self._by_source.values() for pair in source.add(event)]

    def finish(self) -> list[PreferencePair]:
        """What the end of the run adds: the final top k over the rest, as far as not formed yet."""
        return [pair for source in self._by_source.values() for pair in source.finish()]

    def final_pairs(self) -> list[PreferencePair]:
        """The offline export: pairs whose chosen side is in the final top k, best first."""
        return [pair for source in self._by_source.values() for pair in source.final_pairs()]


def pairs_of_run(events: Iterable[TraceEvent], rules: PairingRules) -> list[PreferencePair]:
    """The pairs of a finished run, as ``export-preference-pairs`` writes them.

    Critic-labelled pairs come first, in the order of TriBrain 0.6.2: by rank of the chosen side, then of
    the rejected one (``best_vs_rest``), or by iteration (``adjacent``).
    """
    pairing = RunPairing(rules)
    for event in sorted(events, key=lambda e: e.iter_idx):
        pairing.add(event)
    return pairing.final_pairs()


class _SourcePairing:
    """Pairs by the scores of one label source; a candidate without such a score takes no part."""

    def __init__(self, rules: PairingRules, source: LabelSource) -> None:
        self._rules = rules
        self._source = source
        self._top: list[_Candidate] = []
        self._rest: list[_Candidate] = []
        self._previous: _Candidate | None = None
        self._formed: dict[tuple[int, int], PreferencePair] = {}

    def add(self, event: TraceEvent) -> list[PreferencePair]:
        score = event.overall_score if self._source == "critic" else event.outcome_score
        if event.overall_score is None or score is None:
            self._previous = None
            return []
        candidate = _Candidate((-score, event.iter_idx), event)
        if self._rules.strategy == "adjacent":
            previous, self._previous = self._previous, candidate
            return self._form([(candidate, previous)] if previous else [])
        insort(self._top, candidate)
        if len(self._top) <= self._rules.top_k:
            return []
        outside = self._top.pop()
        insort(self._rest, outside)
        return self._form([(best, outside) for best in self._top])

    def finish(self) -> list[PreferencePair]:
        return self._form(self._final())

    def final_pairs(self) -> list[PreferencePair]:
        if self._rules.strategy == "adjacent":
            return list(self._formed.values())
        self.finish()
        keys = [(chosen.iter_idx, rejected.iter_idx) for chosen, rejected in self._final()]
        return [self._formed[key] for key in keys if key in self._formed]

    def _final(self) -> list[tuple[_Candidate, _Candidate]]:
        return [(best, other) for best in self._top for other in self._rest]

    def _form(self, candidates: list[tuple[_Candidate, _Candidate]]) -> list[PreferencePair]:
        new = []
        for chosen, rejected in candidates:
            key = (chosen.iter_idx, rejected.iter_idx)
            # The same comparison as in 0.6.2, so that rounding decides alike.
            if key in self._formed or chosen.score - rejected.score < self._rules.min_gap:
                continue
            pair = self._formed[key] = self._pair(chosen, rejected)
            new.append(pair)
        return new

    def _pair(self, chosen: _Candidate, rejected: _Candidate) -> PreferencePair:
        best, other = chosen.event, rejected.event
        rules = self._rules
        identity = (best.run_id, rules.strategy, self._source, str(best.iter_idx), str(other.iter_idx))
        return PreferencePair(
            pair_id=hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32],
            run_id=best.run_id,
            task_id=best.task_id,
            model=rules.model,
            label_source=self._source,
            gap=chosen.score - rejected.score,
            goal_instruction=best.goal_instruction or other.goal_instruction,
            chosen_prompt=best.prompt,
            rejected_prompt=other.prompt,
            chosen_artifact=best.artifact_path,
            rejected_artifact=other.artifact_path,
            chosen_score=chosen.score,
            rejected_score=rejected.score,
            chosen_critics=best.critic_scores(),
            rejected_critics=other.critic_scores(),
            context=best.context,
            chosen_context=best.candidate_context,
            rejected_context=other.candidate_context,
            meta={"mode": rules.strategy},
        )
