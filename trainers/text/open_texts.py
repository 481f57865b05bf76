"""The text learner's open tasks, and their pairs that wait to be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.messages.contracts import PreferencePair
from trainers.pairs.judgements import annotator_of, judge_of
from trainers.pairs.seen import Counts


@dataclass(slots=True)
class OpenTexts:
    """A task whose pairs were all predicted, and of which none or (``begun``) all were learnt."""

    facts: set[str] = field(default_factory=set)
    """Pairs that have come and, for those that several people may judge, each one's answer."""
    counts: Counts = field(default_factory=dict)
    """Number of pairs that have come, by label source."""
    waiting: list[PreferencePair] = field(default_factory=list)
    gains: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Sums over the pairs of people and validators of their ``Gain`` over chance."""
    n_trusted: int = 0
    begun: bool = False
    """Later pairs are no evidence, because the model has learnt from the task."""

    @property
    def characters(self) -> int:
        """Characters of the waiting texts."""
        return sum(map(characters_of, self.waiting))

    def state(self) -> dict[str, Any]:
        """The whole state, as JSON values; a text in several pairs is stored once."""
        places: dict[str, int] = {}
        waiting = [
            {
                "source": pair.label_source,
                "weight": pair.weight,
                "judge": judge_of(pair),
                "annotator": annotator_of(pair),
                "chosen": places.setdefault(pair.chosen_prompt, len(places)),
                "rejected": places.setdefault(pair.rejected_prompt, len(places)),
            }
            for pair in self.waiting
        ]
        return {
            "facts": sorted(self.facts),
            "counts": dict(self.counts),
            "texts": list(places),
            "waiting": waiting,
            "gains": list(self.gains),
            "n_trusted": self.n_trusted,
            "begun": self.begun,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> OpenTexts:
        """The task with this state."""
        texts = state["texts"]
        return cls(
            facts=set(state["facts"]),
            counts=dict(state["counts"]),
            waiting=[
                _pair(
                    one["source"],
                    one["weight"],
                    {name: one[name] for name in ("judge", "annotator") if one[name]},
                    texts[one["chosen"]],
                    texts[one["rejected"]],
                )
                for one in state["waiting"]
            ],
            gains=(state["gains"][0], state["gains"][1], state["gains"][2]),
            n_trusted=state["n_trusted"],
            begun=state["begun"],
        )


def characters_of(pair: PreferencePair) -> int:
    """Characters of both texts."""
    return len(pair.chosen_prompt) + len(pair.rejected_prompt)


def what_is_learnt_of(pair: PreferencePair) -> PreferencePair:
    """The pair reduced to what a text reward model learns from."""
    meta = {"judge": judge_of(pair), "annotator": annotator_of(pair)}
    given = {name: value for name, value in meta.items() if value}
    return _pair(pair.label_source, pair.weight, given, pair.chosen_prompt, pair.rejected_prompt)


def _pair(source: Any, weight: float, meta: dict[str, Any], chosen: str, rejected: str) -> PreferencePair:
    return PreferencePair(
        task_id="",
        label_source=source,
        weight=weight,
        chosen_prompt=chosen,
        rejected_prompt=rejected,
        chosen_critics={},
        rejected_critics={},
        meta=meta,
    )
