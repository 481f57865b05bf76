"""The refinement loop with a world model, critics and rewrites of one's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from runner.interfaces import AnyCritic, SnapshotSource, WorldModel
from runner.loop.controller import Controller, ThompsonController
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
    """Make a video, judge it, rewrite the prompt, and repeat, until a stop rule ends the run.

    - ``goal``: what the video has to show; the first prompt, and what critics judge by
    - ``world``: makes the videos
    - ``out``: the run's folder, which gets the videos and ``trace.jsonl``, see ``pairs_from_runs``
    - ``critics``: judge the videos; by default the built-in ones, which measure pixels alone
    - ``rewrite``: given the prompt to build on and what to fix (``minimal``: what to take back), it gives the
      prompt to try; by default directives are added
    - ``reward``: moves the critics' reward. A Reward steers at once, as its user's own decision; of a
      RewardFeed the newest one steers while it is active
    - ``preference_weight``: the most by which it moves the critics' reward, which is in [0, 1]
    - ``stop``: by default eight iterations, or three videos in a row that failed
    - ``candidates``: videos of an iteration, from 1 to 64
    - ``controller``: chooses what to fix, and learns from run to run where it is given again
    - ``seed``: the random seed of the run, a whole number of at least 0
    - ``run_id``: by default a new one that no other run has
    - ``task_id``: shared by runs for the same task; by default each run is its own
    - ``publish_to``: the Kafka (``host:port``) that every iteration is sent to, for the trainer to learn
      from; what has not arrived at the end is saved, with a warning

    An interrupt ends the run as a stop rule does, with the reason ``interrupted``. Raises BadInput for a
    value that is not as above, for critics that share a name, and where ``out`` holds a run already.
    """
    folder = Path(out)
    if (trace := folder / "trace.jsonl").exists():
        raise BadInput(f"{trace}: already exists, and a folder holds one run; choose another out")
    rules = stop or StopRules(max_failures=_MAX_FAILURES)
    # Not at the top: OpenCV and PyAV take a while to load.
    from runner.critics.pixel import default_critics
    from runner.loop.refinement import RefinementLoop, new_run_id

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
    """A source with the same snapshot throughout a run."""

    snapshot: RewardSnapshot

    def latest(self) -> RewardSnapshot:
        return self.snapshot


def _snapshots(reward: Reward | RewardFeed | None) -> SnapshotSource | None:
    match reward:
        case None:
            return None
        case Reward():
            return _Fixed(reward.snapshot)
        case RewardFeed():
            return reward.snapshots
    raise BadInput(f"reward: found {shown(reward)}; expected a Reward, a RewardFeed, or None")
