"""Makes what every refinement run needs, on any world model, from its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.interfaces import AnyCritic, TextRewardFeed
from runner.loop.stopping import StopRules
from runner.rewards.adapter_feed import AdapterFeed, LocalAdapter
from runner.rewards.from_file import FileRewardFeed
from runner.rewards.preference import PreferenceGate, PreferencePolicy
from runner.rewards.text_feeds import TextFileFeed, TextSnapshotFeed
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import OVERALL, RewardSnapshot
from trainers.bradley_terry.reward import printable, statements
from tribrain.run.critics import open_critics
from tribrain.run.metrics import RunMetrics
from tribrain.shell import measuring
from tribrain.shell.dry_run import say_plan
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.output import cache_folder

if TYPE_CHECKING:
    from streams.snapshots.feed import SnapshotFeed

PUBLISHED_TEXTS = ("text", "lora")
"""Kinds of text reward model that ``--text-reward`` may follow on Kafka."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementOptions:
    """The values of ``refinement_options``, and the reward model's name; each by the name of its option."""

    iters: int
    critics: Sequence[str]
    required: Sequence[str]
    no_pixel_critics: bool
    critic_timeout_s: float
    preference_rm: Path | str | None
    """A file or folder, or the name of a model on Kafka."""
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
    def reward_name(self) -> str:
        """Name of the reward model on Kafka. Raises BadInput where two are named, or there is no broker."""
        if isinstance(self.preference_rm, str):
            return _on_kafka(self.preference_rm, self.model, self.bootstrap_servers)
        return self.model

    @property
    def policy(self) -> PreferencePolicy:
        return PreferencePolicy(
            weight=self.preference_weight,
            prefer=self.prefer,
            gate=self.preference_gate,
            given_by_user=isinstance(self.preference_rm, Path),
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
    """Settings of the broker; None without one."""
    feed: FileRewardFeed | SnapshotFeed | None
    text_feed: TextRewardFeed | None
    metrics: RunMetrics

    @property
    def of_loop(self) -> dict[str, Any]:
        """Those arguments of ``RefinementLoop`` that the options give."""
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
        }

    def say_plan(self, first: str, facts: Mapping[str, Any], *, as_json: bool) -> None:
        """Print what would be done, for ``--dry-run``: a sentence, and what is known beforehand."""
        given = self.given
        on_kafka = f"model {given.reward_name} on Kafka" if self.settings else None
        reward = given.preference_rm if isinstance(given.preference_rm, Path) else on_kafka
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
        say_plan(first, known, as_json=as_json)

    def say_what_was_refused(self) -> None:
        """Report on standard error the snapshots that could not be used."""
        if self.feed is not None:
            _say_what_was_refused(self.feed.refused)
        if isinstance(self.text_feed, TextSnapshotFeed | AdapterFeed):
            _say_what_was_refused(self.text_feed.refused)


def open_refinement(stack: ExitStack, given: RefinementOptions) -> Refinement:
    """The refinement that the options ask for; ``stack`` closes its feeds and ends critics' processes.

    A given reward model is described on standard error. Raises BadInput.
    """
    model = given.reward_name
    chosen = open_critics(
        stack,
        critics=given.critics,
        no_pixel_critics=given.no_pixel_critics,
        critic_timeout_s=given.critic_timeout_s,
    )
    names = [critic.name for critic in chosen]
    if unknown := sorted(set(given.required) - set(names)):
        raise BadInput(f"--require-critic {unknown[0]}: the run has no such critic, but {', '.join(names)}")
    settings = open_kafka(given.bootstrap_servers, "run simulated") if given.bootstrap_servers else None
    instruments = stack.enter_context(
        measuring.measured("runner", given.metrics_port, given.metrics_host, given.metrics_file)
    )
    applied = instruments.histogram("tribrain_snapshot_apply_seconds")
    feed: FileRewardFeed | SnapshotFeed | None = None
    followed: SnapshotFeed | None = None
    if isinstance(given.preference_rm, Path):
        feed = FileRewardFeed(given.preference_rm, critics=names)
        if (snapshot := feed.latest()) is not None:
            for line in statements(snapshot, given.prefer):
                click.echo(f"{given.preference_rm}: {line}", err=True)
            click.echo(f"{given.preference_rm}: {_what_steers(given.policy, snapshot)}", err=True)
    elif settings is not None:
        # Not at the top: a run without a broker needs no client of Kafka.
        from streams.snapshots.feed import SnapshotFeed

        followed = feed = stack.enter_context(
            SnapshotFeed(settings, model, critics=names, on_applied=applied.observe)
        )
    return Refinement(
        given=given,
        critics=chosen,
        settings=settings,
        feed=feed,
        text_feed=_text_feed(given, model, settings, stack),
        metrics=RunMetrics(instruments, followed, names),
    )


def _on_kafka(name: str, other: str, bootstrap_servers: str | None) -> str:
    """The name that ``--reward`` gives; ``other`` is that of an earlier option. Raises BadInput."""
    if bootstrap_servers is None:
        raise BadInput(
            f"--reward {name}: there is no such file, and a name on Kafka needs --bootstrap-servers; "
            "check the path, or give the broker"
        )
    if other not in (name, "default"):
        raise BadInput(f"--reward {name} and the name {other} are two reward models; give one of them")
    return name


def _text_feed(
    given: RefinementOptions, model: str, settings: Settings | None, stack: ExitStack
) -> TextRewardFeed | None:
    text_rm, base = given.text_rm, given.text_base_model
    if text_rm is None:
        return None
    if text_rm in PUBLISHED_TEXTS:
        if settings is None:
            raise BadInput(
                f"--text-reward {text_rm} follows a model on Kafka; give --bootstrap-servers, or a file"
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
    """A sentence on whether a reward model from a file steers this run, whatever its statement is."""
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
    """Report refused snapshots on standard error, but for those of other models and older ones."""
    unusable = {reason: n for reason, n in refused.items() if reason not in ("other model", "not newer")}
    if unusable:
        counted = ", ".join(f"{n} {reason}" for reason, n in unusable.items())
        click.echo(f"refused reward snapshots: {counted}; the one in use stayed", err=True)
