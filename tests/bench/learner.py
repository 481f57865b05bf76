"""What the learner alone costs: ``python -m tests.bench.learner`` prints µs of CPU a pair by batch size."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from random import Random

from rich.console import Console

from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair
from trainers.bradley_terry.estimators import LEARNERS, Recipe
from trainers.online.learner import OnlineLearner

BATCHES = (1, 100, 1000)
_MEASURED = 6_000
_PAIRS_OF_RUN = 12


def workload(n: int, *, critics: int, open_runs: int, contexts: bool, seed: int = 0) -> list[PairMessage]:
    """So many pairs, of critics and a validator in turn, of runs that go on side by side, and their ends."""
    random = Random(seed)
    names = [f"critic-{number}.quality" for number in range(critics)]
    runs = [f"run-{number}" for number in range(open_runs)]
    left = dict.fromkeys(runs, 0)
    messages: list[PairMessage] = []
    made = 0
    for number in range(n):
        at = number % open_runs
        run = runs[at]
        if not left[run]:
            messages.append(PairsEnd(run_id=run, task_id=run, n_pairs=_PAIRS_OF_RUN, n_candidates=8))
            made += 1
            run = runs[at] = f"run-{open_runs + made}"
            left[run] = random.randrange(1, 2 * _PAIRS_OF_RUN)
        left[run] -= 1
        messages.append(_pair(run, number, names, contexts, random))
    return messages


def _pair(run: str, number: int, names: Sequence[str], contexts: bool, random: Random) -> PreferencePair:
    chosen: dict[str, float | None] = {name: round(random.random(), 6) for name in names}
    rejected: dict[str, float | None] = {name: round(random.random(), 6) for name in names}
    arms = random.sample(("task", "physics", "camera", "light", "none"), 2)
    return PreferencePair(
        pair_id=f"{number:032x}",
        run_id=run,
        task_id=run,
        label_source=("critic", "critic", "outcome")[number % 3],
        chosen_critics=chosen,
        rejected_critics=rejected,
        context={"world_model": f"w{hash_of(run) % 5}", "family": f"f{hash_of(run) % 3}"} if contexts else {},
        chosen_context={"arm": arms[0]} if contexts else {},
        rejected_context={"arm": arms[1]} if contexts else {},
    )


def hash_of(run: str) -> int:
    """The run's number."""
    return int(run.rpartition("-")[2])


def cost(messages: Sequence[PairMessage], recipe: Recipe, batch: int, measured: int = _MEASURED) -> float:
    """µs of CPU a pair of the last ``measured`` messages, where as many runs are open as ever."""
    learner = OnlineLearner(recipe=recipe, open_tasks=100_000)
    learner.on_messages(messages[:-measured])
    rest = messages[-measured:]
    gc.freeze()  # the messages that lie ready are no part of what a worker holds
    started = time.process_time()
    for start in range(0, len(rest), batch):
        part = rest[start : start + batch]
        learner.on_messages(part, [True] * len(part))
    return (time.process_time() - started) * 1e6 / sum(isinstance(m, PreferencePair) for m in rest)


def state_cost(messages: Sequence[PairMessage]) -> float:
    """ms of CPU that the learner's state takes to copy."""
    learner = OnlineLearner()
    learner.on_messages(messages)
    started = time.process_time()
    for _ in range(10):
        learner.state()
    return (time.process_time() - started) * 1e3 / 10


def main() -> None:
    console = Console()
    kinds: dict[str, Callable[[], list[PairMessage]]] = {
        "6 critics, 16 open runs": lambda: workload(10_000, critics=6, open_runs=16, contexts=False),
        "12 critics, contexts, 500 open runs": lambda: workload(
            20_000, critics=12, open_runs=500, contexts=True
        ),
        "12 critics, contexts, 5,000 open runs": lambda: workload(
            90_000, critics=12, open_runs=5_000, contexts=True
        ),
    }
    for kind, make in kinds.items():
        messages = make()
        for learner in LEARNERS:
            recipe = Recipe(learner=learner)
            cost(messages[:100], recipe, 1, measured=50)  # compiles
            of = ", ".join(f"{cost(messages, recipe, batch):.1f} in batches of {batch}" for batch in BATCHES)
            console.print(f"{kind}, {learner}: µs a pair {of}")
        console.print(f"{kind}: {state_cost(messages):.1f} ms to take the state")


if __name__ == "__main__":
    main()
