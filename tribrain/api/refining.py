"""The refinement loop with a world model, critics and rewrites of one's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from runner.critics.pixel import default_critics
from runner.interfaces import AnyCritic, WorldModel
from runner.interfaces import RewardFeed as Snapshots
from runner.loop.controller import Controller, ThompsonController
from runner.loop.refinement import RefinementLoop, new_run_id
from runner.loop.refiner import Arm, rewriting
from runner.loop.refiner import refine as with_directives
from runner.loop.result import RunResult
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput
from streams.messages.contracts import RewardSnapshot
from streams.messages.refusals import shown
from streams.spool.place import spool_of
from tribrain.api.feed import RewardFeed
from tribrain.api.reward import Reward
from tribrain.run.publishing import not_on_kafka, publishing
from tribrain.shell.kafka_access import open_kafka

_MAX_FAILURES = 3


def refine(
    goal: str,
    *,
    world: WorldModel,
    out: str | PathLike[str],
    critics: Sequence[AnyCritic] | None = None,
    rewrite: Callable[[str, Arm], str] | None = None,
    reward: Reward | RewardFeed | None = None,
    preference_weight: float = 0.25,
    stop: StopRules | None = None,
    candidates: int = 1,
    controller: Controller | None = None,
    seed: int = 0,
    run_id: str | None = None,
    task_id: str | None = None,
    publish_to: str | None = None,
) -> RunResult:
    """One run: make a video, have it judged, rewrite the prompt, again, until a stop rule ends it.

    ``world`` makes the videos, and ``critics`` judge them, by default the built-in ones, which measure pixels
    alone. ``rewrite`` is given the prompt to build on and what to fix (``physics``, ``task``, ``smoothness``,
    ``quality``, or ``minimal``, to take something back), and gives the prompt to try; by default directives
    are added. ``controller`` chooses what to fix, and learns from run to run where it is given again.

    A ``reward`` moves the critics' reward by ``preference_weight`` at most. A Reward steers at once, as its
    user's own decision; of a RewardFeed the newest one steers while it is active. With ``publish_to``
    (``host:port``) every iteration is sent to Kafka, for the trainer to learn from; what has not arrived at
    the end is kept, and a warning says so.

    ``stop`` is by default eight iterations, or three videos in a row that failed. ``out`` gets the videos and
    ``trace.jsonl``, see ``pairs_from_runs``. An interrupt ends the run as a stop rule does, with the reason
    ``interrupted``. Raises BadInput, also where ``out`` holds a run already.
    """
    folder = Path(out)
    if (trace := folder / "trace.jsonl").exists():
        raise BadInput(f"{trace}: already exists, and a folder holds one run; choose another out")
    rules = stop or StopRules(max_failures=_MAX_FAILURES)
    with ExitStack() as stack:
        publisher = spool = None
        if publish_to is not None:
            spool = spool_of(folder)
            settings = open_kafka(publish_to, "log publish", given_by='publish_to="host:port"')
            publisher = stack.enter_context(publishing(settings, folder, spool))
        loop = RefinementLoop(
            goal=goal,
            world=world,
            critics=default_critics() if critics is None else critics,
            controller=controller or ThompsonController(),
            stop=rules,
            seed=seed,
            out_dir=folder,
            run_id=run_id or new_run_id(datetime.now(UTC), seed, goal, world.name, str(folder.absolute())),
            task_id=task_id,
            feed=_snapshots(reward),
            policy=PreferencePolicy(weight=preference_weight, given_by_user=isinstance(reward, Reward)),
            candidates=candidates,
            sink=publisher,
            refiner=with_directives if rewrite is None else rewriting(rewrite),
        )
        result = loop.run()
    if publisher is not None and spool is not None:
        for line in not_on_kafka(publisher, folder, spool):
            warnings.warn(line, stacklevel=2)
    return result


@dataclass(frozen=True, slots=True)
class _Fixed:
    """The same snapshot for as long as the run lasts."""

    snapshot: RewardSnapshot

    def latest(self) -> RewardSnapshot:
        return self.snapshot


def _snapshots(reward: Reward | RewardFeed | None) -> Snapshots | None:
    match reward:
        case None:
            return None
        case Reward():
            return _Fixed(reward.snapshot)
        case RewardFeed():
            return reward.snapshots
    raise BadInput(f"reward: found {shown(reward)}; expected a Reward, a RewardFeed, or None")
