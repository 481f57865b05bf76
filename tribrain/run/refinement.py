"""What every refinement run takes, on whatever world model: its options, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from runner.interfaces import AnyCritic, TextRewardFeed
from runner.loop.candidate import make_candidates
from runner.loop.rewrites import MAX_REWRITES
from runner.loop.stopping import StopRules
from runner.rewards.adapter_feed import AdapterFeed, LocalAdapter
from runner.rewards.from_file import FileRewardFeed
from runner.rewards.preference import PreferenceGate, PreferencePolicy
from runner.rewards.text_feeds import TextFileFeed, TextSnapshotFeed
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import OVERALL, RewardSnapshot
from trainers.bradley_terry.reward import printable, statements
from tribrain.run.critics import CRITIC_OPTIONS, open_critics
from tribrain.run.metrics import RunMetrics
from tribrain.shell import measuring, options
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, FiniteFloat, Shares
from tribrain.shell.output import cache_folder

if TYPE_CHECKING:
    from streams.snapshots.feed import SnapshotFeed

PUBLISHED_TEXTS = ("text", "lora")
"""What ``--text-rm`` may follow on Kafka."""


def refinement_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that ``open_refinement`` takes, but for the reward model's name, and ``--json``."""
    for option in reversed(
        [
            click.option(
                "--iters", type=click.IntRange(min=1), default=8, show_default=True, help="Iterations."
            ),
            *CRITIC_OPTIONS,
            click.option(
                "--require-critic",
                "required",
                multiple=True,
                metavar="NAME",
                help="A video without a score of this critic is no candidate (repeatable).",
            ),
            click.option("--preference-rm", type=PATH, help="A bt_reward.json that steers this run."),
            click.option(
                "--preference-weight",
                type=FiniteFloat(min=0),
                default=0.25,
                show_default=True,
                help="The most by which preferences move the critics' reward, and by which the pick may be "
                "below the best by the critics.",
            ),
            click.option(
                "--prefer",
                type=Shares(),
                default={},
                help="What each dimension that people judge counts, e.g. physics=2,quality=1; overall is the "
                "whole, which counts alone by default.",
            ),
            click.option(
                "--preference-gate",
                type=click.Choice(["auto", "require", "ignore"]),
                default="auto",
                show_default=True,
                help="auto: a file steers at once, a snapshot from Kafka once it is active.",
            ),
            click.option("--target-score", type=FiniteFloat(0, 1), help="Stop at this critics' score."),
            click.option(
                "--patience", type=click.IntRange(min=1), help="Stop after so many iterations without gain."
            ),
            click.option(
                "--drift-threshold",
                type=FiniteFloat(0, 1),
                help="Stop when a failure mode twice falls by more than this while the score rises.",
            ),
            click.option("--max-wall", type=FiniteFloat(min=0), help="Stop after so many seconds."),
            click.option(
                "--max-failures",
                type=click.IntRange(min=1),
                default=3,
                show_default=True,
                help="Stop with exit code 4 after so many candidates in a row that failed, or that a critic "
                "failed on.",
            ),
            click.option(
                "--candidates",
                type=click.IntRange(1, MAX_REWRITES),
                default=1,
                show_default=True,
                help="Videos of an iteration, of as many prompts where there are any.",
            ),
            click.option(
                "--rewrites",
                type=click.IntRange(1, MAX_REWRITES),
                default=1,
                show_default=True,
                help="Prompts that are proposed for each iteration; --text-rm picks what is made.",
            ),
            click.option(
                "--text-rm",
                metavar="FILE|FOLDER|text|lora",
                help="A reward of prompts: a text_reward.json, an adapter's folder, or 'text' or 'lora' for "
                "what serve-text or serve-lora publishes. It is one more critic, and picks among --rewrites.",
            ),
            click.option(
                "--text-base-model",
                metavar="NAME|FOLDER",
                help="Where the base model of an adapter is, if it is not where it was when trained.",
            ),
            bootstrap_servers,
            options.spool_dir,
            *measuring.OPTIONS_OF_A_RUN,
            click.option("--dry-run", is_flag=True, help="Say what would be done, and make nothing."),
            options.as_json,
        ]
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementOptions:
    """The values of ``refinement_options``, and the reward model's name; each by the name of its option."""

    iters: int
    critics: Sequence[str]
    required: Sequence[str]
    no_pixel_critics: bool
    critic_timeout_s: float
    preference_rm: Path | None
    preference_weight: float
    prefer: Mapping[str, float]
    preference_gate: PreferenceGate
    target_score: float | None
    patience: int | None
    drift_threshold: float | None
    max_wall: float | None
    max_failures: int
    candidates: int
    rewrites: int
    text_rm: str | None
    text_base_model: str | None
    bootstrap_servers: str | None
    spool_dir: Path | None
    metrics_port: int | None
    metrics_host: str
    metrics_file: Path | None
    dry_run: bool
    model: str

    @property
    def policy(self) -> PreferencePolicy:
        return PreferencePolicy(
            weight=self.preference_weight,
            prefer=self.prefer,
            gate=self.preference_gate,
            given_by_user=self.preference_rm is not None,
        )

    @property
    def text_policy(self) -> PreferencePolicy:
        return PreferencePolicy(
            gate=self.preference_gate, given_by_user=self.text_rm not in (None, *PUBLISHED_TEXTS)
        )

    @property
    def stop(self) -> StopRules:
        return StopRules(
            max_iters=self.iters,
            target_score=self.target_score,
            patience=self.patience,
            drift_threshold=self.drift_threshold,
            max_wall_s=self.max_wall,
            max_failures=self.max_failures,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Everything about a run but its goal, world model, seed and folder; good for several."""

    given: RefinementOptions
    critics: Sequence[AnyCritic]
    settings: Settings | None
    """Of the broker, where there is one."""
    feed: FileRewardFeed | SnapshotFeed | None
    text_feed: TextRewardFeed | None
    metrics: RunMetrics

    @property
    def of_loop(self) -> dict[str, Any]:
        """As arguments of ``RefinementLoop``."""
        given = self.given
        return {
            "critics": self.critics,
            "required": given.required,
            "stop": given.stop,
            "feed": self.feed,
            "policy": given.policy,
            "text_feed": self.text_feed,
            "text_policy": given.text_policy,
            "rewrites": given.rewrites,
            "candidates": given.candidates,
            "make": partial(make_candidates, max_failures=given.max_failures),
        }

    def say_plan(self, first: str, facts: Mapping[str, Any], *, as_json: bool) -> None:
        """What would be done, for ``--dry-run``: a sentence, and what is known beforehand."""
        given = self.given
        reward = given.preference_rm or (f"model {given.model} on Kafka" if self.settings else None)
        known = {
            **facts,
            "iterations": given.iters,
            "candidates": given.candidates,
            "critics": [critic.name for critic in self.critics],
            "reward": None if reward is None else str(reward),
            "text_reward": given.text_rm,
            "preference_weight": given.preference_weight,
            "kafka": self.settings.bootstrap_servers if self.settings else None,
        }
        if as_json:
            click.echo(orjson.dumps({"dry_run": True, **known}))
            return
        click.echo(f"{first}; nothing was made or written")
        for name, value in known.items():
            shown = ", ".join(value) if isinstance(value, list) else value
            click.echo(f"  {name.replace('_', ' '):17}  {'none' if shown is None else shown}")

    def say_what_was_refused(self) -> None:
        """Snapshots that could not be used, on standard error."""
        if self.feed is not None:
            _say_what_was_refused(self.feed.refused)
        if isinstance(self.text_feed, TextSnapshotFeed | AdapterFeed):
            _say_what_was_refused(self.text_feed.refused)


def open_refinement(stack: ExitStack, given: RefinementOptions) -> Refinement:
    """What the options ask for; ``stack`` closes what follows Kafka and ends critics' processes.

    Says on standard error what a given reward model was made of. Raises BadInput.
    """
    chosen = open_critics(
        stack,
        critics=given.critics,
        no_pixel_critics=given.no_pixel_critics,
        critic_timeout_s=given.critic_timeout_s,
    )
    names = [critic.name for critic in chosen]
    if unknown := sorted(set(given.required) - set(names)):
        raise BadInput(
            f"--require-critic {unknown[0]}: no critic of the run is called that; "
            f"there are {', '.join(names)}"
        )
    settings = open_kafka(given.bootstrap_servers, "run-simulated") if given.bootstrap_servers else None
    instruments = stack.enter_context(
        measuring.measured("runner", given.metrics_port, given.metrics_host, given.metrics_file)
    )
    applied = instruments.histogram("tribrain_snapshot_apply_seconds")
    feed: FileRewardFeed | SnapshotFeed | None = None
    followed: SnapshotFeed | None = None
    if given.preference_rm is not None:
        feed = FileRewardFeed(given.preference_rm, critics=names)
        if (snapshot := feed.latest()) is not None:
            for line in statements(snapshot, given.prefer):
                click.echo(f"{given.preference_rm}: {line}", err=True)
            click.echo(f"{given.preference_rm}: {_what_steers(given.policy, snapshot)}", err=True)
    elif settings is not None:
        # Not at the top: a run without a broker needs no client of Kafka.
        from streams.snapshots.feed import SnapshotFeed

        followed = feed = stack.enter_context(
            SnapshotFeed(settings, given.model, critics=names, on_applied=applied.observe)
        )
    return Refinement(
        given=given,
        critics=chosen,
        settings=settings,
        feed=feed,
        text_feed=_text_feed(given, settings, stack),
        metrics=RunMetrics(instruments, followed, names),
    )


def _text_feed(
    given: RefinementOptions, settings: Settings | None, stack: ExitStack
) -> TextRewardFeed | None:
    text_rm, base, model = given.text_rm, given.text_base_model, given.model
    if text_rm is None:
        return None
    if text_rm in PUBLISHED_TEXTS:
        if settings is None:
            raise BadInput(
                f"--text-rm {text_rm} follows what is published; give --bootstrap-servers, or a file"
            )
        if text_rm == "text":
            return stack.enter_context(TextSnapshotFeed(settings, model))
        return stack.enter_context(AdapterFeed(settings, model, cache=cache_folder() / "adapters", base=base))
    if Path(text_rm).is_dir():
        return LocalAdapter(Path(text_rm), base=base)
    texts = TextFileFeed(Path(text_rm))
    click.echo(f"{text_rm}: {texts.snapshot.statement}", err=True)
    return texts


def _what_steers(policy: PreferencePolicy, snapshot: RewardSnapshot) -> str:
    """Of a file that the user gave, whatever its statement says of its evidence."""
    gates = {
        name: snapshot.gate if name == OVERALL else snapshot.dimensions[name].gate
        for name in policy.prefer or (OVERALL,)
        if name == OVERALL or name in snapshot.dimensions
    }
    steering = [name for name, gate in gates.items() if policy.steers(gate)]
    if not steering or not policy.weight:
        why = f"--preference-gate {policy.gate}" if policy.weight else "--preference-weight 0"
        return f"In this run it steers nothing: {why}."
    on = f" on {', '.join(map(printable, steering))}" if policy.prefer else ""
    shadows = [name for name in steering if gates[name] != "active"]
    unproven = ", though it is not shown to beat the critics' mean" if shadows else ""
    return f"In this run it steers{on}, as you gave it{unproven}."


def _say_what_was_refused(refused: Mapping[str, int]) -> None:
    """Those of other models and the older ones are no news."""
    unusable = {reason: n for reason, n in refused.items() if reason not in ("other model", "not newer")}
    if unusable:
        counted = ", ".join(f"{n} {reason}" for reason, n in unusable.items())
        click.echo(f"reward snapshots that were refused: {counted}; the one in use stayed", err=True)
