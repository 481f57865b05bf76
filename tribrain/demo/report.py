"""The report of a demo, for someone who was not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import counted
from streams.messages.contracts import RewardSnapshot
from streams.messages.feature_names import is_critic
from trainers.bradley_terry.explain import Explanation, explain
from trainers.bradley_terry.reward import reward_on
from trainers.evidence.gate import CLOSES_AT, OPENS_AT
from tribrain.demo.findings import QUALITY, Gains, gains_of, headline, lead, steering
from tribrain.demo.folder import Demo, HistoryLine, PeopleSummary, Summary, VoterSummary, read_demo
from tribrain.figures.drawing import Drawing
from tribrain.figures.report_plots import LearningStep, course_plot, evidence_plot, log_loss_plot, mean_curve
from tribrain.story.model import SOURCES, EffectRow, effect_rows, gate_in_words
from tribrain.story.report import Figure, Told, WrittenReport, write_report
from tribrain.story.traced_run import TracedRun
from tribrain.story.voters import NAMELESS

_NAMED, _LISTED = 3, 30
"""Number of effects that get a sentence each, and of those that are listed."""
_BEST = "The best video so far, as each run chose it, less its own first video."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learnt:
    """What a model learnt on one dimension, or overall."""

    dimension: str
    explanation: Explanation
    sentences: list[str]
    critics: list[EffectRow]
    contexts: list[EffectRow]
    left_out: int
    """Number of weaker critics and contexts that are not listed."""
    gate: str


def build_report(folder: Path) -> WrittenReport:
    """Write ``folder/report.html``; an earlier report is replaced.

    Raises BadInput as ``read_demo`` does, and where the report cannot be written.
    """
    demo = read_demo(folder)
    summary, gains = demo.summary, gains_of(demo.runs)
    steps = [_learning_step(line) for line in demo.history]
    goals = {run.run_id: run.goal for run in summary.runs}
    return write_report(
        folder,
        "Demo",
        "demo/report.html.j2",
        [Told(run=run, title=goals[run.run_id], label=run.run_id) for run in demo.runs],
        headline=headline(len(demo.runs), demo.snapshot, gains),
        lead=lead(demo.snapshot, gains),
        notes=["This demo was interrupted. The report shows what was done until then."]
        if summary.interrupted
        else [],
        figures=_figures(demo, gains),
        learnt=_learnt(demo.snapshot),
        learning_plots=[plot for plot in (log_loss_plot(steps), evidence_plot(steps, OPENS_AT)) if plot],
        steering=steering(gains),
        steering_plots=_steering_plots(demo.runs),
        group_sizes={
            name: sum(run.steered == name for run in demo.runs)
            for name in ("throughout", "partly", "never", "cut short")
        },
        opens_at=OPENS_AT,
        closes_at=CLOSES_AT,
        facts=_facts(summary),
        simulated=_what_is_simulated(summary),
        voters=_voters(summary.people),
        text_reward=summary.text_reward,
    )


def _learning_step(line: HistoryLine) -> LearningStep:
    return LearningStep(
        trusted_pairs=line.trusted_pairs,
        log_loss=line.log_loss,
        log_loss_critics_mean=line.log_loss_critics_mean,
        evidence=line.evidence,
        active=line.gate == "active",
    )


def _learnt(snapshot: RewardSnapshot | None) -> list[_Learnt]:
    """What the model learnt overall, and on each dimension that labels judge separately."""
    if snapshot is None:
        return []
    found = [(name, explain(reward_on(snapshot, name))) for name in ("", *snapshot.dimensions)]
    return [_learnt_on(name, explanation) for name, explanation in found if explanation.effects]


def _learnt_on(dimension: str, explanation: Explanation) -> _Learnt:
    critics = [effect for effect in explanation.effects if is_critic(effect.feature)]
    contexts = [effect for effect in explanation.effects if not is_critic(effect.feature)]
    rows = effect_rows(explanation, critics[:_LISTED])
    return _Learnt(
        dimension=dimension,
        explanation=explanation,
        sentences=[row.sentence for row in rows[:_NAMED]],
        critics=rows,
        contexts=effect_rows(explanation, contexts[:_LISTED]),
        left_out=max(0, len(critics) - _LISTED) + max(0, len(contexts) - _LISTED),
        gate=gate_in_words(explanation),
    )


def _steering_plots(runs: Sequence[TracedRun]) -> list[Drawing]:
    """Plots of the best video so far minus the run's first: true quality, where it is known, and score."""
    groups = [
        (name, [run for run in runs if run.steered == group])
        for name, group in (("never steered", "never"), ("steered", "throughout"))
    ]
    length = max((len(run.events) for _, members in groups for run in members), default=0)
    qualities = [
        mean_curve(name, [_above_first(run.qualities) for run in members], length) for name, members in groups
    ]
    scores = [
        mean_curve(name, [_above_first(run.scores) for run in members], length) for name, members in groups
    ]
    plots = (
        course_plot("True quality above the first video", qualities, caption=_BEST),
        course_plot("Critics' score above the first video", scores, caption=_BEST),
    )
    return [plot for plot in plots if plot is not None]


def _above_first(course: Sequence[float | None]) -> list[float | None]:
    """The course minus its first value; None throughout where the first is not known."""
    first = course[0] if course else None
    return [None if value is None or first is None else value - first for value in course]


def _figures(demo: Demo, gains: Gains) -> list[Figure]:
    summary, snapshot = demo.summary, demo.snapshot
    is_more = len(demo.runs) > summary.tasks
    planned = f"{summary.tasks} were planned" if is_more else f"of {summary.tasks} that were planned"
    if is_more and summary.text_reward is not None:
        planned += "; --lora adds runs while none has used an adapter"
    found = [Figure(what="Runs", value=str(len(demo.runs)), meaning=planned)]
    if gains.everyone:
        what = "True quality" if gains.measure == QUALITY else "Critics' score"
        value = f"{gains.first_mean:.3f} → {gains.best_mean:.3f}"
        found.append(Figure(what=what, value=value, meaning="first and best videos, mean over runs"))
    if summary.log_loss is not None and summary.log_loss_critics_mean is not None:
        others = f"the critics' mean has {summary.log_loss_critics_mean:.3f}, guessing 0.693"
        meaning = f"{others}; lower is better"
        found.append(Figure(what="Log loss of the model", value=f"{summary.log_loss:.3f}", meaning=meaning))
    if snapshot is not None:
        does = "it steers" if snapshot.gate == "active" else "it only watches"
        meaning = f"{counted(snapshot.n_pairs, 'pair')} learnt; {does}"
        found.append(Figure(what="Model version", value=f"{snapshot.version:,}", meaning=meaning))
    return found


def _facts(summary: Summary) -> list[tuple[str, str]]:
    by_source = ", ".join(
        f"{n:,} labelled by {'votes' if source == 'human' else SOURCES.get(source, source)}"
        for source, n in sorted(summary.pairs_by_label_source.items())
    )
    first, opened = summary.first_snapshot_s, summary.gate_opened_at_pair
    return [
        ("Videos and other events", f"{summary.events:,}"),
        ("Preference pairs", f"{summary.pairs:,}: {by_source}" if by_source else f"{summary.pairs:,}"),
        (
            "Snapshots published",
            f"{summary.snapshots:,}" + (f", the first after {first:.1f} s" if first is not None else ""),
        ),
        ("Gate opened", f"at pair {opened:,}" if opened is not None else "it is not open"),
        ("Weight of the model in a reward", f"{summary.preference_weight:g}"),
        (
            "Plan",
            f"{counted(summary.tasks, 'task')}, {summary.parallel} at a time, at most "
            f"{counted(summary.iters, 'iteration')} each; "
            f"seed {summary.seed}",
        ),
        ("Broker", summary.broker),
        ("Restarts of the trainer", str(summary.trainer_restarts)),
        ("Wall time", _duration(summary.wall_s)),
    ]


def _what_is_simulated(summary: Summary) -> list[str]:
    """Sentences on what is simulated: the world, and those who judged its videos."""
    said = ["The world is simulated: its videos are drawings whose failures are made up."]
    if summary.pairs_by_label_source.get("outcome"):
        said.append("Labels by validators come from its simulated validator, which knows the failures.")
    people = summary.people or PeopleSummary(annotators=())
    if people.simulated:
        votes = counted(_votes(people.simulated), "vote")
        by = counted(len(people.simulated), "simulated annotator")
        said.append(
            f"{by} gave {votes}: programs that know the failures, and err as often as the table says."
        )
    if people.persons:
        by = "One person" if len(people.persons) == 1 else f"{len(people.persons)} people"
        said.append(f"{by} gave {counted(_votes(people.persons), 'vote')}, which nothing here simulates.")
    else:
        said.append("No person voted.")
    return said


def _votes(voters: Sequence[VoterSummary]) -> int:
    return sum(voter.votes for voter in voters)


def _voters(people: PeopleSummary | None) -> list[tuple[str, ...]]:
    """A row of texts for each annotator, and none where nobody voted."""
    annotators = people.annotators if people is not None else ()
    return [
        (
            voter.name or NAMELESS,
            f"{voter.votes:,}",
            f"a program, wrong in {voter.error_rate:.0%}" if voter.error_rate is not None else "a person",
            f"{voter.agreed} of {voter.compared}",
            f"{1.0 if voter.weight is None else voter.weight:.2f}",
        )
        for voter in annotators
        if voter.votes
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
