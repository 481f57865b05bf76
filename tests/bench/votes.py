"""Which pairs to ask people about: ``python -m tests.bench.votes`` writes ``trainers/VOTES.md``.

Needs ``TRIBRAIN_DATA``, as ``tests.bench.learning``. What is finished is kept in a folder, so the same
command goes on where it was; everything is seeded, so the same data and versions give the same tables.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from inspect import cleandoc
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec.structs import replace
from rich.console import Console

from runner.lab.experiment import by_condition
from runner.lab.experiment_figures import figures, saved_more
from runner.lab.experiment_plan import VOTES, ExperimentPlan, Result
from runner.lab.vote_figures import CHECKPOINTS, RuleFigures, first_reached, vote_figures
from runner.lab.vote_simulation import ANY_PAIR, ASKABLE, LearningCurve, Split, VotePlan, run_votes
from streams.files import write_atomically
from streams.messages.contracts import PreferencePair
from tests.bench.learning import SETS, with_contexts
from trainers.asking.chooser import LATER_RANDOM_SHARE, RANDOM_SHARE, SPREAD_RULE, random_share_after
from trainers.asking.rules import DEFAULT_RULE, RULES
from trainers.compiled import Array, Ints
from tribrain.lab.experiment import begun_folder, percent, points
from tribrain.lab.folder import ExperimentFolder
from tribrain.lab.workers import compute

OUT = Path(__file__).parents[2] / "trainers" / "VOTES.md"
REPETITIONS = 12
_FEW_MAKERS = 50
"""Makers of sides up to which they are features; wmt19_text has more."""
_SIGNIFICANCE_AT = (20, 50, 100, 200, 400)
LIVE = "rising share"
"""The default rule with the share of random votes that the page asks with."""
_STAGES: tuple[Callable[[str], bool], ...] = (
    lambda name: name in (ANY_PAIR, SPREAD_RULE, DEFAULT_RULE, LIVE),
    lambda name: name in RULES or name.endswith("% random"),
    lambda name: name.endswith("% wrong"),
    lambda name: True,
)
"""Names of plans, and which of them are measured first; what is not measured yet has no row."""
_SHARES, _FLIPS = (0.1, 0.2, 0.3), (0.1, 0.2, 0.3)
_RESAMPLES = 1_000
_SEEDS, _SIMULATED = 10, ("clean", *(condition.name for condition in VOTES))
"""Of the simulated world, and the conditions that are compared there."""

Known = Literal["critics", "makers"]


def plans(known: Known) -> dict[str, VotePlan]:
    """By name."""
    found = {rule: VotePlan(rule=rule) for rule in ASKABLE}
    found |= {f"{share:.0%} random": VotePlan(rule=DEFAULT_RULE, random_share=share) for share in _SHARES}
    found[LIVE] = VotePlan(rule=DEFAULT_RULE, random_share=None)
    if known == "critics":
        for flips in _FLIPS:
            found |= {
                f"random, {flips:.0%} wrong": VotePlan(rule=ANY_PAIR, flips=flips),
                f"chosen, {flips:.0%} wrong": VotePlan(rule=DEFAULT_RULE, random_share=None, flips=flips),
            }
        found |= {f"{rule} without spread": VotePlan(rule=rule, spread=False) for rule in RULES}
    return found


def pairs_of(folder: Path, known: Known, data: str) -> list[PreferencePair]:
    """With ties; empty where too many have made the sides for these to be features."""
    pairs = with_contexts(folder, data)
    if known == "critics":
        return [replace(pair, context={}, chosen_context={}, rejected_context={}) for pair in pairs]
    if len({pair.chosen_context["generator"] for pair in pairs}) >= _FEW_MAKERS:
        return []
    return [replace(pair, context={}) for pair in pairs]


class Seed:
    """What is computed for one split of each set."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._split: Callable[[Known, str], Split] = cache(self._made)

    def __call__(self, part: str) -> LearningCurve:
        """``part`` names what is known, the set and the plan."""
        kind, data, name = part.split(" ", 2)
        known: Known = "critics" if kind == "critics" else "makers"
        return run_votes(self._split(known, data), plans(known)[name], CHECKPOINTS, self._seed)

    def _made(self, known: Known, data: str) -> Split:
        return Split.of(pairs_of(self._folder, known, data), self._seed)


class Begin:
    """Sent to other processes, which begin a seed with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, seed: int) -> Seed:
        return Seed(self._folder, seed)


Courses = Mapping[str, Mapping[str, Sequence[LearningCurve]]]
"""Set to plan to a course for each repetition."""


def needed_table(courses: Courses, names: Iterable[str]) -> Iterator[str]:
    """Votes for the log loss of 200 (400) random ones."""
    of_data = {data: vote_figures(of, ANY_PAIR, CHECKPOINTS) for data, of in courses.items()}
    yield f"| asked by | {' | '.join(courses)} | mean |"
    yield f"|---|{'---|' * len(courses)}---|"
    for name in _measured(courses, names):
        of_sets = [{one.random: one for one in of_data[data][name].needed} for data in courses]
        cells = [f"{_votes(of[200].votes)} ({_votes(of[400].votes)})" for of in of_sets]
        means = [_mean_needed(courses, name, level) for level in (200, 400)]
        yield f"| {name} | {' | '.join(cells)} | {means[0]} ({means[1]}) |"


def worth_table(courses: Courses, names: Iterable[str]) -> Iterator[str]:
    """Random votes that give the log loss of 100 chosen ones; bold where their difference is significant."""
    of_data = {data: vote_figures(of, ANY_PAIR, CHECKPOINTS) for data, of in courses.items()}
    at = CHECKPOINTS.index(100)
    yield f"| asked by | {' | '.join(courses)} | geometric mean |"
    yield f"|---|{'---|' * len(courses)}---|"
    for name in _measured(courses, names):
        cells = []
        for data in courses:
            of = of_data[data][name]
            low, high = of.minus_random_ci95[at]
            worth = of.worth[at]
            cell = "more than 400" if worth is None else f"{worth:.0f}"
            cells.append(f"**{cell}**" if low > 0.0 or high < 0.0 else cell)
        yield f"| {name} | {' | '.join(cells)} | {_mean_worth(courses, name, 100)} |"


def against_spread(courses: Courses, names: Iterable[str]) -> Iterator[str]:
    """Log loss minus that of random votes spread over the tasks, worst and best set, in thousandths.

    In brackets: sets in which it is significantly worse, and significantly better, of all.
    """

    def cell(figures: Sequence[RuleFigures], at: int) -> str:
        minus = [1e3 * of.minus_random[at] for of in figures]
        worse = sum(of.minus_random_ci95[at][0] > 0.0 for of in figures)
        better = sum(of.minus_random_ci95[at][1] < 0.0 for of in figures)
        return f"{max(minus):+.1f} to {min(minus):+.1f} ({worse}, {better})"

    return _at_some_votes(courses, names, SPREAD_RULE, cell)


def picks_table(courses: Courses, names: Iterable[str]) -> Iterator[str]:
    """Share of its judged pairs that the picked candidate wins, a tie as half: the mean over the sets.

    The model picks one of each task kept apart. In brackets: sets in which it is significantly worse, and
    significantly better, than after as many votes at random.
    """

    def cell(figures: Sequence[RuleFigures], at: int) -> str:
        worse = sum(of.picked_minus_random_ci95[at][1] < 0.0 for of in figures)
        better = sum(of.picked_minus_random_ci95[at][0] > 0.0 for of in figures)
        return f"{np.mean([of.picked[at] for of in figures]):.3f} ({worse}, {better})"

    return _at_some_votes(courses, names, ANY_PAIR, cell)


def _at_some_votes(
    courses: Courses,
    names: Iterable[str],
    reference: str,
    cell: Callable[[Sequence[RuleFigures], int], str],
) -> Iterator[str]:
    """A row for each rule; a cell is made of its figures on all sets, and of the checkpoint's index."""
    of_data = {data: vote_figures(of, reference, CHECKPOINTS) for data, of in courses.items()}
    yield f"| asked by | {' | '.join(f'{votes} votes' for votes in _SIGNIFICANCE_AT)} |"
    yield f"|---|{'---|' * len(_SIGNIFICANCE_AT)}"
    for name in _measured(courses, names):
        figures = [of_data[data][name] for data in courses]
        cells = [cell(figures, CHECKPOINTS.index(votes)) for votes in _SIGNIFICANCE_AT]
        yield f"| {name} | {' | '.join(cells)} |"


def simulated_table(results: Mapping[str, Sequence[Result]], learning_tasks: int) -> Iterator[str]:
    """Generations saved against critics alone: `clean` and `no gate` have half of all videos judged.

    The others have a fifth as many votes: on pairs as the page asks for them, half of them drawn at random,
    or all. `no gate`: the model steers from the second run on, whatever its evidence.
    """
    after = slice(learning_tasks, None)
    seeds = len(next(iter(results.values()), ()))
    yield f"| labels | generations saved | minus clean | gain in true quality | gate open, of {seeds} seeds |"
    yield "|---|---|---|---|---|"
    for name, of in results.items():
        measured = figures(of, after)
        cells = [
            percent(measured.generations_saved),
            "" if name == "clean" else percent(saved_more(of, results["clean"], after)),
            points(measured.best_true_quality_gain),
            "" if name.endswith("no gate") else str(measured.seeds_steered),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def errors_table(courses: Courses) -> Iterator[str]:
    """Votes, a rising share of them random, for the log loss of 200 (400) random ones that err as often."""
    yield f"| wrong answers | {' | '.join(courses)} |"
    yield f"|---|{'---|' * len(courses)}"
    for flips in _FLIPS:
        random, chosen = f"random, {flips:.0%} wrong", f"chosen, {flips:.0%} wrong"
        if _measured(courses, (random, chosen)) != [random, chosen]:
            continue
        cells = []
        for of in courses.values():
            needed = {one.random: one for one in vote_figures(of, random, CHECKPOINTS)[chosen].needed}
            cells.append(f"{_votes(needed[200].votes)} ({_votes(needed[400].votes)})")
        yield f"| {flips:.0%} | {' | '.join(cells)} |"


def gate_table(courses: Courses, names: Iterable[str]) -> Iterator[str]:
    """Repetitions in which the gate opened within 400 votes, and after how many votes (the median)."""
    yield f"| asked by | {' | '.join(courses)} |"
    yield f"|---|{'---|' * len(courses)}"
    for name in _measured(courses, names):
        cells = []
        for of in courses.values():
            found = vote_figures(of, ANY_PAIR, CHECKPOINTS)[name]
            opened = f"{found.gate_opened} of {len(of[name])}"
            at = found.gate_opened_at
            cells.append(opened if at is None else f"{opened}, {at:.0f}")
        yield f"| {name} | {' | '.join(cells)} |"


def _measured(courses: Courses, names: Iterable[str]) -> list[str]:
    return [name for name in names if all(name in of for of in courses.values())]


def _mean_needed(courses: Courses, name: str, level: int) -> str:
    """Over the sets, 800 where it is not reached; with an interval over repetitions."""

    def mean(rows: Ints) -> float:
        found = [_needed(of[name], of[ANY_PAIR], rows, level) for of in courses.values()]
        return float(np.mean(np.minimum(found, 2.0 * CHECKPOINTS[-1])))

    return _with_interval(mean, courses)


def _mean_worth(courses: Courses, name: str, votes: int) -> str:
    """Geometric mean over the sets, 400 where it is more."""

    def mean(rows: Ints) -> float:
        found = [_worth(of[name], of[ANY_PAIR], rows, votes) for of in courses.values()]
        return float(np.exp(np.log(np.minimum(found, CHECKPOINTS[-1])).mean()))

    return _with_interval(mean, courses)


def _with_interval(statistic: Callable[[Ints], float], courses: Courses) -> str:
    n = len(next(iter(next(iter(courses.values())).values())))
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.integers(n, size=n)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{statistic(np.arange(n)):.0f} [{low:.0f}, {high:.0f}]"


def _needed(of: Sequence[LearningCurve], random: Sequence[LearningCurve], rows: Ints, level: int) -> float:
    return first_reached(_curve(of, rows), _curve(random, rows)[CHECKPOINTS.index(level)], CHECKPOINTS)


def _worth(of: Sequence[LearningCurve], random: Sequence[LearningCurve], rows: Ints, votes: int) -> float:
    return first_reached(_curve(random, rows), _curve(of, rows)[CHECKPOINTS.index(votes)], CHECKPOINTS)


def _curve(of: Sequence[LearningCurve], rows: Ints) -> Array:
    return np.asarray(_losses(tuple(of))[rows].mean(axis=0))


@cache
def _losses(of: tuple[LearningCurve, ...]) -> Array:
    return np.array([course.log_losses for course in of], dtype=np.float64)


def _votes(votes: float | None) -> str:
    return "never" if votes is None else f"{votes:.0f}"


def document(
    found: Mapping[Known, Courses],
    repetitions: int,
    simulated: Mapping[str, Sequence[Result]],
    plan: ExperimentPlan,
) -> str:
    """The whole of ``trainers/VOTES.md``."""
    critics, makers = found["critics"], found["makers"]
    shares = [f"{share:.0%} random" for share in _SHARES]
    without = [f"{rule} without spread" for rule in RULES]
    chosen = [*RULES, *shares, LIVE]
    sections: list[tuple[str, Callable[..., Iterator[str]], Iterable[str]]] = [
        ("Critics alone", needed_table, needed_table(critics, [*ASKABLE, *shares, LIVE, *without])),
        ("Who made each side is known, too", worth_table, worth_table(makers, [*ASKABLE, *shares, LIVE])),
        ("Against random votes spread over the tasks", against_spread, against_spread(critics, chosen)),
        ("The same where who made each side is known", against_spread, against_spread(makers, chosen)),
        ("How good the picks are", picks_table, picks_table(critics, [ANY_PAIR, SPREAD_RULE, *chosen])),
        (
            "The same picks where who made each side is known",
            picks_table,
            picks_table(makers, [ANY_PAIR, SPREAD_RULE, *chosen]),
        ),
        ("Annotators who err", errors_table, errors_table(critics)),
        ("When the gate opens", gate_table, gate_table(critics, [ANY_PAIR, SPREAD_RULE, *shares, LIVE])),
        ("In the simulated world", simulated_table, simulated_table(simulated, plan.learning_tasks)),
    ]  # fmt: skip
    about = cleandoc(f"""
        # Which pairs to ask people about

        Written by `make results` (`python -m tests.bench.votes`); every figure is what that command printed.
        {repetitions} repetitions, each a split of the tasks; intervals are 95% of a bootstrap over them.

        A rule asks about one pair after the other, people's labels answer, the published learner learns, and
        its log loss is measured on the tasks that were kept apart. Every pair can be asked about once; a tie
        costs a vote, too. `{DEFAULT_RULE}` is the default rule, and "20% random" the same with so many votes
        drawn at random, on as large a share of the tasks, which is kept for them. `{LIVE}` is how the page
        asks: {RANDOM_SHARE:.0%} at first, from 100 to 200 votes rising to {LATER_RANDOM_SHARE:.0%}. All but
        `random` take the least asked tasks first, unless it is said.
    """)
    lines = [about, ""]
    for title, table, rows in sections:
        heading, rule, *measured = rows
        lines += [f"## {title}", "", cleandoc(table.__doc__ or ""), ""]
        lines += [heading, rule, *measured, ""] if measured else ["Not measured yet.", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--work", type=Path, default=Path("outputs/bench-votes"), help="what is finished")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    console = Console(stderr=True)
    if "TRIBRAIN_DATA" not in os.environ:
        console.print("TRIBRAIN_DATA is not set: no figures on human preferences, so nothing is written")
        return
    folder = Path(os.environ["TRIBRAIN_DATA"]) / "preferences"
    work: ExperimentFolder[LearningCurve] = ExperimentFolder(
        given.work, "tribrain.bench_votes/2", LearningCurve
    )
    work.begin({"default": DEFAULT_RULE, "shares": [random_share_after(votes) for votes in CHECKPOINTS]})
    plan = ExperimentPlan()
    worlds = begun_folder(given.work / "simulated", plan)
    compute(worlds, partial(by_condition, plan), range(_SEEDS), _SIMULATED, given.processes, "simulated")
    simulated = {name: worlds.read((seed, name) for seed in range(_SEEDS)) for name in _SIMULATED}
    sets: dict[Known, list[str]] = {
        known: [data for data in SETS if pairs_of(folder, known, data)] for known in ("critics", "makers")
    }
    parts = [f"{known} {data} {name}" for known, of in sets.items() for data in of for name in plans(known)]
    seeds = range(given.repetitions)
    # What decides between rules first, so that it is there if the command is ended.
    for stage in _STAGES:
        some = [part for part in parts if stage(part.split(" ", 2)[2])]
        compute(work, Begin(folder), seeds, some, given.processes, "seeds × rules")
        found: dict[Known, Courses] = {
            known: {data: _finished(work, known, data, seeds) for data in of} for known, of in sets.items()
        }
        write_atomically(given.out, document(found, given.repetitions, simulated, plan).encode())
        console.print(f"written to {given.out}")


def _finished(
    work: ExperimentFolder[LearningCurve], known: Known, data: str, seeds: range
) -> dict[str, list[LearningCurve]]:
    """The courses of the plans of which every repetition is there."""
    units = {name: [(seed, f"{known} {data} {name}") for seed in seeds] for name in plans(known)}
    return {name: work.read(of) for name, of in units.items() if all(map(work.is_finished, of))}


if __name__ == "__main__":
    main()
