"""What every refinement run works with, on whatever world model, made of its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.interfaces import AnyCritic, TextRewardFeed
from runner.loop.candidate import make_candidates
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
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.output import cache_folder

if TYPE_CHECKING:
    from streams.snapshots.feed import SnapshotFeed

PUBLISHED_TEXTS = ("text", "lora")
"""What ``--text-reward`` may follow on Kafka."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Everything about a run but its goal, world model, seed and folder; good for several."""

    critics: Sequence[AnyCritic]
    required: Sequence[str]
    stop: StopRules
    policy: PreferencePolicy
    text_policy: PreferencePolicy
    rewrites: int
    candidates: int
    settings: Settings | None
    """Of the broker, where there is one."""
    spool_dir: Path | None
    """For what waits for the broker, where it is not to be in the run's own folder."""
    feed: FileRewardFeed | SnapshotFeed | None
    text_feed: TextRewardFeed | None
    metrics: RunMetrics

    @property
    def of_loop(self) -> dict[str, Any]:
        """As arguments of ``RefinementLoop``."""
        return {
            "critics": self.critics,
            "required": self.required,
            "stop": self.stop,
            "feed": self.feed,
            "policy": self.policy,
            "text_feed": self.text_feed,
            "text_policy": self.text_policy,
            "rewrites": self.rewrites,
            "candidates": self.candidates,
            "make": partial(make_candidates, max_failures=self.stop.max_failures),
        }

    def say_what_was_refused(self) -> None:
        """Snapshots that could not be used, on standard error."""
        if self.feed is not None:
            _say_what_was_refused(self.feed.refused)
        if isinstance(self.text_feed, TextSnapshotFeed | AdapterFeed):
            _say_what_was_refused(self.text_feed.refused)


def open_refinement(
    stack: ExitStack,
    *,
    iters: int,
    critics: Sequence[str],
    required: Sequence[str],
    no_pixel_critics: bool,
    critic_timeout_s: float,
    preference_rm: Path | str | None,
    preference_weight: float,
    prefer: Mapping[str, float],
    preference_gate: PreferenceGate,
    target_score: float | None,
    patience: int | None,
    drift_threshold: float | None,
    max_wall: float | None,
    max_failures: int,
    candidates: int,
    rewrites: int,
    text_rm: str | None,
    text_base_model: str | None,
    bootstrap_servers: str | None,
    spool_dir: Path | None,
    metrics_port: int | None,
    metrics_host: str,
    metrics_file: Path | None,
    model: str,
) -> Refinement:
    """What the options ask for; ``stack`` closes what follows Kafka and ends critics' processes.

    Says on standard error what a given reward model was made of. Raises BadInput.
    """
    if isinstance(preference_rm, str):
        model, preference_rm = _on_kafka(preference_rm, model, bootstrap_servers), None
    policy = PreferencePolicy(
        weight=preference_weight,
        prefer=prefer,
        gate=preference_gate,
        given_by_user=preference_rm is not None,
    )
    stop = StopRules(
        max_iters=iters,
        target_score=target_score,
        patience=patience,
        drift_threshold=drift_threshold,
        max_wall_s=max_wall,
        max_failures=max_failures,
    )
    chosen = open_critics(
        stack, critics=critics, no_pixel_critics=no_pixel_critics, critic_timeout_s=critic_timeout_s
    )
    names = [critic.name for critic in chosen]
    if unknown := sorted(set(required) - set(names)):
        raise BadInput(f"--require-critic {unknown[0]}: the run has no such critic, but {', '.join(names)}")
    settings = open_kafka(bootstrap_servers, "run-simulated") if bootstrap_servers else None
    instruments = stack.enter_context(measuring.measured("runner", metrics_port, metrics_host, metrics_file))
    applied = instruments.histogram("tribrain_snapshot_apply_seconds")
    feed: FileRewardFeed | SnapshotFeed | None = None
    followed: SnapshotFeed | None = None
    if preference_rm is not None:
        feed = FileRewardFeed(preference_rm, critics=names)
        if (snapshot := feed.latest()) is not None:
            for line in statements(snapshot, prefer):
                click.echo(f"{preference_rm}: {line}", err=True)
            click.echo(f"{preference_rm}: {_what_steers(policy, snapshot)}", err=True)
    elif settings is not None:
        # Not at the top: a run without a broker needs no client of Kafka.
        from streams.snapshots.feed import SnapshotFeed

        followed = feed = stack.enter_context(
            SnapshotFeed(settings, model, critics=names, on_applied=applied.observe)
        )
    return Refinement(
        critics=chosen,
        required=required,
        stop=stop,
        policy=policy,
        text_policy=PreferencePolicy(
            gate=preference_gate, given_by_user=text_rm not in (None, *PUBLISHED_TEXTS)
        ),
        rewrites=rewrites,
        candidates=candidates,
        settings=settings,
        spool_dir=spool_dir,
        feed=feed,
        text_feed=_text_feed(text_rm, text_base_model, settings, model, stack),
        metrics=RunMetrics(instruments, followed, names),
    )


def _on_kafka(name: str, other: str, bootstrap_servers: str | None) -> str:
    """The reward model called so by ``--reward``; ``other`` is one that an earlier option names."""
    if bootstrap_servers is None:
        raise BadInput(
            f"--reward {name}: there is no such file, and a name on Kafka needs --bootstrap-servers; "
            "check the path, or give the broker"
        )
    if other not in (name, "default"):
        raise BadInput(f"--reward {name} and the name {other} are two reward models; give one of them")
    return name


def _text_feed(
    text_rm: str | None, base: str | None, settings: Settings | None, model: str, stack: ExitStack
) -> TextRewardFeed | None:
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
        click.echo(f"refused reward snapshots: {counted}; the one in use stayed", err=True)
