"""One training as planned: dataset, checkpoint and comparison; each is reported on Kafka once finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from runner.finetune.comparison import NEW, OLD, compare
from runner.finetune.history import History
from runner.finetune.inbox import EndedRun, with_folders
from runner.finetune.job import FinetuneJob
from runner.finetune.line import RESERVED, SHOWN, comparable, prompts_of, with_new_seeds
from runner.finetune.plan import FinetunePlan
from runner.finetune.training import run_training
from runner.finetune.verdict import CheckpointVerdict, judge
from runner.look import look_at, put_as_mp4
from streams.fail_points import reach
from streams.files import read_bytes
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import FinetuneEvent, FinetuneStep
from trainers.datasets.build import build_dataset, prompts_shown
from trainers.datasets.choice import choose
from trainers.datasets.new_folder import SUMMARY, new_folder

_CHECKPOINT_SCHEMA = "tribrain.finetuned/1"


class Round:
    """The steps of a plan; ``runs`` are those it names, as they were when it was made."""

    def __init__(
        self, job: FinetuneJob, history: History, plan: FinetunePlan, runs: Sequence[EndedRun]
    ) -> None:
        self._job, self._history, self._plan, self._runs = job, history, plan, runs
        self._folder = folder_of(job, plan)
        self._snapshot = decode_snapshot(plan.snapshot.encode(), "the plan") if plan.snapshot else None
        self._tasks = comparable(job.tasks, plan.passed_over)
        """What its checkpoint is compared on, before the tasks get the comparison's seeds."""

    def run(self) -> FinetuneEvent:
        """Do the unfinished steps. Returns the last event; without a checkpoint there was no video.

        Raises TrainingFailed and ComparisonFailed, after which it can be run again, BadInput, and Fenced if
        another job of the same model has taken over.
        """
        plan, version = self._plan, f"Version {self._plan.version}"
        reserved = sorted(prompts_of(self._tasks))
        self._tell("planned", f"{version} is planned.", {"runs": list(plan.runs), RESERVED: reserved})
        summary = self._dataset()
        if summary is None:
            return self._tell("kept", f"{version} is not trained: no video can be used.", {})
        reach("finetune.dataset-built")
        videos = f"{summary['videos']} videos of {summary['iterations']} iterations"
        details = {key: summary[key] for key in ("videos", "splits", "left_out", "manifest_sha256")}
        details[SHOWN] = sorted(prompts_shown(self._folder / "dataset"))
        self._tell("dataset", f"{version} shows {videos}.", details)
        checkpoint = self._checkpoint()
        reach("finetune.trained")
        self._tell("trained", f"{version} is trained: {checkpoint}.", {})
        verdict, details = self._compared()
        self._tell("compared", verdict.statement, details)
        reach("finetune.compared")
        return self._tell("promoted" if verdict.promote else "kept", verdict.statement, details)

    def _dataset(self) -> dict[str, Any] | None:
        """Build the dataset. Returns its summary; None if no usable video is left."""
        job, out = self._job, self._folder / "dataset"
        if (out / SUMMARY).is_file():
            found: dict[str, Any] = orjson.loads(read_bytes(out / SUMMARY))
            return found
        runs, apart = with_folders(self._runs, job.root), frozenset(self._plan.kept_apart)
        choice = choose(runs, job.rules, self._snapshot, look_at, kept_apart=apart)
        if not choice.chosen:
            return None
        pictures = job.pictures(choice)
        return build_dataset(out, choice, job.rules, job.writing, self._snapshot, pictures, put_as_mp4)

    def _checkpoint(self) -> Path:
        job, folder, out = self._job, self._folder, self._folder / "checkpoint"
        if out.is_dir():
            return out
        with new_folder(out, _CHECKPOINT_SCHEMA) as building:
            places = {"dataset": folder / "dataset", "out": building, "runs": job.root.absolute()}
            arguments = job.train.filled({k: str(v) for k, v in places.items()} | {"base": self._plan.base})
            run_training(arguments, folder, building, timeout_s=job.train_timeout_s, listener=job.listener)
        return out

    def _compared(self) -> tuple[CheckpointVerdict, dict[str, Any]]:
        job, plan = self._job, self._plan
        try:
            comparison = compare(
                {OLD: plan.base, NEW: str(self._folder / "checkpoint")},
                with_new_seeds(self._tasks, plan.version, plan.without_promotion),
                job.world_of,
                job.critics,
                self._snapshot,
                self._folder / "comparison",
                job.on_pair,
                max_failures=job.max_failures,
            )
        finally:
            job.after_comparison()
        verdict = judge(plan.version, comparison, plan.without_promotion)
        return verdict, {
            **verdict.as_json(),
            "pairs": len(comparison.pairs) + len(comparison.failed),
            "failed": {side: sum(pair.side == side for pair in comparison.failed) for side in (OLD, NEW)},
            "passed_over": len(plan.passed_over),
        }

    def _tell(self, step: FinetuneStep, statement: str, details: dict[str, Any]) -> FinetuneEvent:
        plan, checkpoint, dataset = self._plan, self._folder / "checkpoint", self._folder / "dataset"
        event = FinetuneEvent(
            event_id=plan.event_id(step),
            model=plan.model,
            version=plan.version,
            step=step,
            statement=statement,
            policy=plan.policy,
            base=plan.base,
            dataset=str(dataset) if dataset.is_dir() else "",
            checkpoint=str(checkpoint) if checkpoint.is_dir() else "",
            snapshot_version=orjson.loads(plan.snapshot)["version"] if plan.snapshot else None,
            consumed=plan.consumed,
            topic_ids=plan.topic_ids,
            details={"chosen": plan.chosen, "chosen_new": plan.chosen_new, **details},
        )
        self._history.tell(event, plan.event_ids())
        return event


def folder_of(job: FinetuneJob, plan: FinetunePlan) -> Path:
    """The folder of a plan's dataset, checkpoint and comparison."""
    return job.work.absolute() / f"{plan.version:04d}"
