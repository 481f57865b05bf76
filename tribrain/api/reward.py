"""A learnt reward, which compares and ranks candidates, explains itself, and states its uncertainty."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import GateState, RewardSnapshot, TraceEvent
from streams.messages.feature_names import critic_of
from streams.messages.files import read_snapshot
from streams.messages.limits import MAX_NUMBER
from streams.messages.refusals import nearest, shown
from trainers.bradley_terry.explain import Explanation, explain
from trainers.bradley_terry.features import UNIT, Context, differences
from trainers.bradley_terry.marks import without_marks
from trainers.bradley_terry.reward import (
    Differences,
    Logit,
    confidence,
    logit_of_mean,
    prob_prefer,
    reward_on,
)
from trainers.bradley_terry.ties import tie_probability
from trainers.pairs.table import Table, TableLike, name, number, score

ScoredCandidate = Mapping[str, float | None] | TraceEvent
"""Critic to score, in the critic's own unit, None where it gave none; or an iteration of a run."""
_NAME = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """How one candidate compares with another."""

    probability: float
    """P(first ≻ second), given that it is no tie."""
    ci95: tuple[float, float] | None
    """95% interval of the probability; None for a point estimate, or if the model knows no difference."""
    confidence: float
    """Weight that a run would give the preference, in (0, 1]: less where the model is unsure."""
    tie: float
    """Probability that people find neither better; 0 where no tie was learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A candidate's place among others."""

    name: Hashable
    """Name of the candidate, as given."""
    reward: float
    """Reward above the mean of the others, in nats; 0 where there is no other."""
    probability: float
    """P(candidate ≻ an average one of the others); of two, that it is preferred to the other."""
    ci95: tuple[float, float] | None
    """95% interval of the probability; None for a point estimate, or if there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class _Side:
    """The parts of a candidate that are compared."""

    critics: Mapping[str, float | None]
    shared: Context = field(default_factory=dict)
    own: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class Reward:
    """A reward model as it was at one moment; it never changes.

    >>> from tribrain import comparison, learn
    >>> judged = [comparison({"sharp": 0.9 - n / 50}, {"sharp": 0.2}, "left", task=n) for n in range(20)]
    >>> reward = learn(judged)
    >>> preference = reward.prob_prefer({"sharp": 0.8}, {"sharp": 0.3})
    >>> preference.probability > 0.8 and preference.ci95[0] > 0.5
    True
    """

    snapshot: RewardSnapshot
    """The message that holds the reward on Kafka and in a ``bt_reward.json``."""

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Reward:
        """The reward in the file ``path``, a ``bt_reward.json``. Raises BadInput where it holds none."""
        return cls(read_snapshot(Path(path)))

    def write(self, path: str | PathLike[str]) -> None:
        """Write the reward to the file ``path``, whole or not at all, in the format of ``--reward``.

        Raises BadInput where it cannot be written.
        """
        from tribrain.shell.output import write_output

        write_output(Path(path), encode(self.snapshot))

    def __repr__(self) -> str:
        told = f"model={self.model!r}, version={self.version}, gate={self.gate!r}, critics={self.critics}"
        return f"Reward({told})"

    @property
    def model(self) -> str:
        """Name of the reward model."""
        return self.snapshot.model

    @property
    def version(self) -> int:
        """Version, which grows with what is learnt."""
        return self.snapshot.version

    @property
    def gate(self) -> GateState:
        """``active`` once the reward is shown to beat the critics' mean on pairs not yet learnt."""
        return self.snapshot.gate

    @property
    def is_active(self) -> bool:
        """Whether the gate is ``active``."""
        return self.gate == "active"

    @property
    def statement(self) -> str:
        """What the reward was learnt from and whether it may steer, in a sentence."""
        return self.snapshot.statement

    @property
    def critics(self) -> tuple[str, ...]:
        """The critics whose scores the reward weighs, in the order in which they first came."""
        return tuple(dict.fromkeys(filter(None, map(critic_of, self.snapshot.feature_names))))

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that labels judged besides overall; see ``on``."""
        return tuple(self.snapshot.dimensions)

    def on(self, dimension: str) -> Reward:
        """The reward of one ``dimension``; of the whole where it is empty.

        Raises BadInput where nothing was learnt of it.
        """
        return Reward(reward_on(self.snapshot, dimension))

    def explain(self, step: float = UNIT) -> Explanation:
        """The effect of each critic and context on the odds where a score is ``step`` higher, with intervals.

        ``step`` is in the critics' own unit. Raises BadInput where it is not above 0.
        """
        step = number(step, "step", 0.0, MAX_NUMBER)
        if step == 0.0:
            raise BadInput("step: found 0; expected a number above 0, in the critics' unit")
        return explain(self.snapshot, step)

    def prob_prefer(self, first: ScoredCandidate, second: ScoredCandidate) -> Preference:
        """How probable it is that ``first`` is preferred to ``second``, by the critics that scored both.

        Critics that the reward does not know are ignored. Without a critic that scored both, the probability
        is 0.5, and ``ci95`` is None. Raises BadInput for scores that are no finite
        numbers, and for a candidate with none of the critics that the reward knows.
        """
        d = self._differences(self._side(first, "first"), self._side(second, "second"))
        believed = self._believed([d])
        return Preference(
            probability=prob_prefer(self.snapshot, d),
            ci95=believed.ci95,
            confidence=confidence(self.snapshot, d),
            tie=tie_probability(believed.mean, self.snapshot.tie_nu),
        )

    def rank(self, candidates: Mapping[Any, ScoredCandidate] | TableLike) -> list[Ranked]:
        """All candidates, the most preferred first; equal ones in the order given.

        ``candidates`` is name to candidate, or a table with a column ``candidate`` of names that differ and
        one for each critic's scores, or a sequence of a run's iterations. Each is compared with every other,
        so the time grows with the square of their number. Raises BadInput as ``prob_prefer`` does, for no
        candidates, and for a name that comes twice.

        >>> from tribrain import Reward
        >>> reward = Reward.read("bt_reward.json")  # doctest: +SKIP
        >>> reward.rank({"take 1": {"sharp": 0.9}, "take 2": {"sharp": 0.4}})[0].name  # doctest: +SKIP
        'take 1'
        """
        named = _named(candidates)
        sides = {each: self._side(one, f"candidate {shown(each)}") for each, one in named.items()}
        ranked = [_ranked(each, self._against_others(each, sides)) for each in sides]
        return sorted(ranked, key=lambda one: -one.reward)

    def _against_others(self, each: Hashable, sides: Mapping[Hashable, _Side]) -> Logit:
        own = sides[each]
        others = [side for other, side in sides.items() if other != each]
        if not others:
            return Logit(mean=0.0, variance=None)
        return self._believed([self._differences(own, other) for other in others])

    def _believed(self, several: Sequence[Differences]) -> Logit:
        """Without variance if no difference is known: no evidence is no certainty."""
        believed = logit_of_mean(self.snapshot, several)
        is_known = any(name in d for d in several for name in self.snapshot.feature_names)
        return believed if is_known else believed._replace(variance=None)

    def _differences(self, a: _Side, b: _Side) -> Differences:
        return differences(a.critics, b.critics, context=a.shared, of_a=a.own, of_b=b.own)

    def _side(self, candidate: ScoredCandidate, where: str) -> _Side:
        if isinstance(candidate, TraceEvent):
            return _Side(candidate.critic_scores(), candidate.context, candidate.candidate_context)
        if not isinstance(candidate, Mapping):
            raise BadInput(f"{where}: found {shown(candidate)}; expected a mapping from critic to score")
        scores = {critic: score(value, f"{where}: {critic}") for critic, value in candidate.items()}
        if self.critics and not scores.keys() & set(self.critics):
            texts = [critic for critic in scores if isinstance(critic, str)]
            meant = next(filter(None, (nearest(critic, self.critics) for critic in texts)), None)
            raise BadInput(
                f"{where}: has the critics {', '.join(map(shown, scores)) or 'none'}; expected some of "
                f"{', '.join(map(shown, self.critics))}, which the reward knows"
                f"{f': did you mean {shown(meant)}?' if meant else ''}"
            )
        return _Side(without_marks(scores, self.snapshot.ranges))


def _ranked(each: Hashable, believed: Logit) -> Ranked:
    return Ranked(name=each, reward=believed.mean, probability=believed.probability, ci95=believed.ci95)


def _named(candidates: Mapping[Any, ScoredCandidate] | TableLike) -> Mapping[Any, ScoredCandidate]:
    if isinstance(candidates, Sequence) and candidates and isinstance(candidates[0], TraceEvent):
        if not_events := [at for at, one in enumerate(candidates) if not isinstance(one, TraceEvent)]:
            at = not_events[0]
            raise BadInput(
                f"candidate {at}: found {shown(candidates[at])}; expected iterations of a run alone"
            )
        pairs = [(event.iter_idx, event) for event in candidates]
    elif isinstance(candidates, Mapping):
        pairs = list(candidates.items())
    else:
        pairs = _of_table(candidates)
    if not pairs:
        raise BadInput("there are no candidates to rank; expected at least one")
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(each for at, (each, _) in enumerate(pairs) if each in dict(pairs[:at]))
        raise BadInput(f"candidate {shown(twice)} is there twice; expected each once")
    return found


def _of_table(given: TableLike) -> list[tuple[Any, ScoredCandidate]]:
    expected = f"a row for each candidate, with {_NAME}, its name, and each critic's score"
    table = Table.read(given, expected)
    if _NAME not in table.columns:
        passed = "list of candidates" if isinstance(given, Sequence) else "table of candidates"
        close = nearest(_NAME, table.columns)
        remedy = f"did you mean {shown(close)}? Rename it" if close else "add it, or pass name to scores"
        raise BadInput(f"the {passed} has no {_NAME!r}; expected {expected}: {remedy}")
    table.refuse_texts(column for column in table.columns if column != _NAME)
    rows: list[tuple[Any, ScoredCandidate]] = []
    for at, row in enumerate(table.rows):
        called = name(row[_NAME], f"row {at}: {_NAME}")
        if not called:
            raise BadInput(f"row {at}: {_NAME} is missing; expected a name that no other row has")
        scores = {
            critic: score(value, f"row {at}: {critic}") for critic, value in row.items() if critic != _NAME
        }
        rows.append((called, scores))
    return rows
