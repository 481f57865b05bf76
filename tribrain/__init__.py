"""TriBrain learns what people prefer in generated videos, and how sure that is.

From comparisons to a ranking:

>>> import tribrain
>>> comparisons = [  # or a dataframe of pandas or Polars
...     {"task": n, "left_sharp": 0.4, "right_sharp": 0.9, "left_calm": 0.8, "right_calm": 0.3, "winner": won}
...     for n, won in enumerate(["left", "left", "right", "left", "tie", "left"] * 8)
... ]
>>> reward = tribrain.learn(comparisons)
>>> best = reward.rank({"first": {"sharp": 0.4, "calm": 0.8}, "second": {"sharp": 0.9, "calm": 0.3}})[0]
>>> best.name, best.ci95[0] > 0.5
('first', True)

Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.interfaces import (
        Critic,
        Generation,
        GenerationFailed,
        Judgement,
        VideoCritic,
        WorldModel,
    )
    from runner.loop.result import RunResult
    from runner.loop.stopping import StopRules
    from streams.errors import BadInput
    from streams.messages.contracts import CriticResult, PreferencePair, RewardSnapshot, TraceEvent
    from trainers.bradley_terry.explain import Effect, Explanation
    from trainers.pairs.comparisons import comparison, pairs_from_table
    from tribrain.api.evaluating import Evaluation, evaluate
    from tribrain.api.feed import RewardFeed
    from tribrain.api.files import pairs_from_runs, read_pairs
    from tribrain.api.learning import PreferenceLearner, learn
    from tribrain.api.refining import refine
    from tribrain.api.reward import Preference, Ranked, Reward

    __version__: str

__all__ = [
    "BadInput",
    "Critic",
    "CriticResult",
    "Effect",
    "Evaluation",
    "Explanation",
    "Generation",
    "GenerationFailed",
    "Judgement",
    "Preference",
    "PreferenceLearner",
    "PreferencePair",
    "Ranked",
    "Reward",
    "RewardFeed",
    "RewardSnapshot",
    "RunResult",
    "StopRules",
    "TraceEvent",
    "VideoCritic",
    "WorldModel",
    "__version__",
    "comparison",
    "evaluate",
    "learn",
    "pairs_from_runs",
    "pairs_from_table",
    "read_pairs",
    "refine",
]

_MODULES = {
    "runner.interfaces": (
        "Critic",
        "Generation",
        "GenerationFailed",
        "Judgement",
        "VideoCritic",
        "WorldModel",
    ),
    "runner.loop.result": ("RunResult",),
    "runner.loop.stopping": ("StopRules",),
    "streams.errors": ("BadInput",),
    "streams.messages.contracts": ("CriticResult", "PreferencePair", "RewardSnapshot", "TraceEvent"),
    "trainers.bradley_terry.explain": ("Effect", "Explanation"),
    "trainers.pairs.comparisons": ("comparison", "pairs_from_table"),
    "tribrain.api.evaluating": ("Evaluation", "evaluate"),
    "tribrain.api.feed": ("RewardFeed",),
    "tribrain.api.files": ("pairs_from_runs", "read_pairs"),
    "tribrain.api.learning": ("PreferenceLearner", "learn"),
    "tribrain.api.refining": ("refine",),
    "tribrain.api.reward": ("Preference", "Ranked", "Reward"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def _imported(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("tribrain")
    elif name in _MODULE_OF:
        _require_own_packages()
        value = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # a type checker would take it that every name is there
    __getattr__ = _imported


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _require_own_packages() -> None:
    """Raises ImportError where a file of somebody else's hides a package that is installed with this one."""
    from importlib.util import find_spec
    from pathlib import Path

    here = Path(__file__).resolve().parent.parent
    for package in ("streams", "trainers", "runner"):
        spec = find_spec(package)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if found != here / package / "__init__.py":
            raise ImportError(
                f"{found or package} stands in the way of TriBrain's own package {package!r} in {here}; "
                "rename it, or start Python elsewhere"
            )
