"""Whether a new adapter may choose: only if it is shown to beat every baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from streams.messages.contracts import GateState
from trainers.lora.adapter import LORA
from trainers.lora.comparison import LEAST_TASKS, Array, Difference, differences, measured

IN_FORCE = "adapter in force"


@dataclass(frozen=True, slots=True)
class AdapterVerdict:
    """The held-out tasks' verdict on a new adapter."""

    gate: GateState
    statement: str
    metrics: dict[str, Any]
    differences: Mapping[str, Difference]
    """The new adapter minus each baseline."""


def judge(
    version: int, predictions: Mapping[str, Array], tasks: Sequence[str], seed: int = 0
) -> AdapterVerdict:
    """Compare the new adapter (``LORA``) with every other model of ``predictions``.

    Predictions are P(chosen ≻ rejected) (n,) of the same n held-out pairs; ``tasks`` names the task of each.
    It is ``active`` if, for every other model, the 95% interval of its log loss minus that model's (paired
    bootstrap over tasks) is entirely below 0, and ``shadow`` otherwise.
    """
    found = differences(predictions, LORA, tasks, seed)
    lacking = [name for name, difference in found.items() if not difference.is_shown]
    n_tasks = len(set(tasks))
    where = f"on {len(tasks)} pairs of {n_tasks} tasks kept apart"
    if not found:
        gate, said = "shadow", "there is nothing that it was compared with"
    elif n_tasks < LEAST_TASKS:
        gate, said = "shadow", f"{where}, and at least {LEAST_TASKS} tasks are needed to tell anything"
    elif lacking:
        gate, said = (
            "shadow",
            f"{where} its log loss is not shown to be below that of {_named(found, lacking)}",
        )
    else:
        gate, said = "active", f"{where} its log loss is shown to be below that of {_named(found, found)}"
    verb = "may choose" if gate == "active" else "is a shadow"
    return AdapterVerdict(
        "active" if gate == "active" else "shadow",
        f"Version {version} {verb}: {said}.",
        {
            "models": measured(predictions, tasks, seed),
            "lora_minus": {other: asdict(difference) for other, difference in found.items()},
            "statements": [difference.statement(LORA, other) for other, difference in found.items()],
            "intervals": "95%, paired bootstrap over held-out tasks, 2000 resamples",
            "held_out_pairs": len(tasks),
            "held_out_tasks": n_tasks,
        },
        found,
    )


def withdrawn(predictions: Mapping[str, Array], tasks: Sequence[str], seed: int = 0) -> str | None:
    """The baseline that the adapter in force is now shown to be worse than; None if there is none.

    The new adapter is not such a baseline: it replaces the one in force by beating everything.
    """
    others = {name: p for name, p in predictions.items() if name != LORA}
    worse = (name for name, of in differences(others, IN_FORCE, tasks, seed).items() if of.is_worse)
    return next(worse, None)


def _named(found: Mapping[str, Difference], names: Sequence[str] | Mapping[str, Difference]) -> str:
    said = [
        f"{name} ({found[name].log_loss:+.3f} "
        f"[{found[name].log_loss_ci95[0]:+.3f}, {found[name].log_loss_ci95[1]:+.3f}])"
        for name in names
    ]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
