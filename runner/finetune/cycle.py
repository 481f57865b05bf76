"""Continual fine-tuning: waits for videos that the policy selects, trains, compares, and promotes or not.

A plan on disk fixes each training before it begins, and every step leaves complete results: the folders of
the dataset and the checkpoint are renamed into place, and each pair of the comparison has its own file. If
the process is killed, the next one continues with that plan and repeats nothing that was finished. Each
finished step is an event on Kafka, whose id follows from the plan, so that a repeated event is recognised.
The topic alone says which checkpoint was promoted.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import orjson

from runner.finetune.comparison import NEW, OLD, PairedTask, compare
from runner.finetune.history import History
from runner.finetune.inbox import EndedRun, Offsets, RunInbox, selected, with_folders
from runner.finetune.job import FinetuneJob
from runner.finetune.line import RESERVED, SHOWN, comparable, prompts_of, with_new_seeds
from runner.finetune.plan import FinetunePlan
from runner.finetune.training import run_training
from runner.finetune.verdict import CheckpointVerdict, judge
from runner.look import look_at, put_as_mp4
from streams.errors import BadInput
from streams.fail_points import reach
from streams.files import read_bytes
from streams.kafka.incarnations import topic_ids
from streams.kafka.reader import TopicReader
from streams.messages.codec import decode_snapshot, encode
from streams.messages.contracts import FinetuneEvent, FinetuneStep, RewardSnapshot, RunRevision
from streams.snapshots.feed import read_latest_snapshot
from trainers.datasets.build import build_dataset, prompts_shown
from trainers.datasets.choice import choose
from trainers.datasets.new_folder import SUMMARY, new_folder
from trainers.plan_file import PlanFile, as_stamp, of_topic, stamp_of

PROMOTED = "promoted"
"""A link in the work folder to the checkpoint in force, after the first promotion."""
_CHECKPOINT_SCHEMA = "tribrain.finetuned/1"
_LOOK_EVERY_S = 2.0


def serve(job: FinetuneJob, *, once: bool = False) -> str:
    """Train whenever enough videos are new, for ever; with ``once``, train once if any video is new.

    With ``once``, returns why nothing could be trained, or an empty string. Raises BadInput, also if the
    user's command fails: a new start tries it again. Raises Fenced if another job of the same model has taken
    over.
    """
    with (
        TopicReader(job.kafka, job.kafka.trace_topic) as reader,
        History(job.kafka, job.model, job.say) as history,
    ):
        return _Serving(job, reader, history).run(once=once)


class _Serving:
    def __init__(self, job: FinetuneJob, reader: TopicReader, history: History) -> None:
        self._job, self._reader, self._history = job, reader, history
        self._plans = PlanFile(job.work, FinetunePlan)
        self._inbox = RunInbox()
        self._topic_ids = topic_ids(job.kafka, (job.kafka.trace_topic,))
        self._counted: frozenset[RunRevision] | None = None
        self._failure = ""
        """Why the last plan led to no training."""

    def run(self, *, once: bool) -> str:
        self._show_promoted()
        self._take()
        comparable(self._job.tasks, self._history.line.shown)  # raises at once, not after days
        if self._go_on() and once:
            return self._failure
        while True:
            plan = self._plan(1 if once else self._job.every)
            if plan is not None:
                shutil.rmtree(self._folder(plan), ignore_errors=True)  # leftovers of a lost plan
                self._plans.save(plan)
                reach("finetune.planned")
                self._train(plan)
            if once:
                nothing = plan is None and self._history.last is None
                return "no video is selected to train on" if nothing else self._failure
            if plan is None:
                time.sleep(_LOOK_EVERY_S)
                self._look()

    def _go_on(self) -> bool:
        """Finish the training that was already begun; False if there is none."""
        plan = self._plans.load()
        if plan is None:
            return False
        last = self._history.last
        if last is not None and plan.version <= last.version:
            self._plans.remove()  # a job was killed after its last event
            return False
        if why := self._why_anew(plan):
            self._job.say(f"version {plan.version} was begun {why}, and starts over")
            self._plans.remove()
            shutil.rmtree(self._folder(plan), ignore_errors=True)
            return False
        self._job.say(f"version {plan.version} was begun before, and continues")
        self._train(plan)
        return True

    def _why_anew(self, plan: FinetunePlan) -> str:
        """Why a plan cannot continue; empty if it can."""
        last = self._history.last
        if plan.recipe != self._job.recipe or plan.after != (last.event_id if last else ""):
            return "with other options"
        if not {run.run_id for run in self._inbox.since({})}.issuperset(plan.runs):
            return "from runs that no longer exist"
        if self._history.is_taken_over(plan.version, plan.event_ids()):
            return "by another finetune as well"
        return ""

    def _plan(self, least: int) -> FinetunePlan | None:
        """What to train on next; None if the policy selects fewer than ``least`` new videos."""
        job, last, promoted = self._job, self._history.last, self._history.promoted
        pool, new_from = self._stamp(promoted), self._stamp(last)
        ended = self._inbox.since(pool)
        new = {run.run_id for run in ended if run.is_since(new_from)}
        counted = frozenset(run.run for run in ended)
        if counted == self._counted:
            return None  # no run has ended or was rescored since the last check
        self._counted = counted
        snapshot, line = self._snapshot(), self._history.line
        compared = prompts_of(comparable(job.tasks, line.shown))
        kept_apart = line.reserved | compared
        chosen, left_out = selected(with_folders(ended, job.root), job.rules.policy, snapshot, kept_apart)
        chosen_new = sum(sample.sample.event.run_id in new for sample in chosen)
        unusable = "".join(f", {reason}: {n}" for reason, n in sorted(left_out.items()))
        job.say(
            f"new videos: {chosen_new} (of {least} needed{unusable}), all that {job.rules.policy} selects: "
            f"{len(chosen)}, runs: {len(ended)}"
        )
        if over := prompts_of(job.tasks) - compared:
            job.say(f"prompts excluded from the comparison, as an earlier dataset had them: {len(over)}")
        if chosen_new < least:
            return None
        return FinetunePlan(
            model=job.model,
            version=last.version + 1 if last else 1,
            after=last.event_id if last else "",
            base=promoted.checkpoint if promoted else job.base,
            policy=str(job.rules.policy),
            runs=tuple(run.run_id for run in ended),
            chosen=len(chosen),
            chosen_new=chosen_new,
            snapshot=encode(snapshot).decode() if snapshot is not None else "",
            consumed={job.kafka.trace_topic: as_stamp(self._inbox.consumed)},
            topic_ids=self._topic_ids,
            without_promotion=line.without_promotion,
            kept_apart=tuple(sorted(kept_apart)),
            passed_over=tuple(sorted(prompts_of(job.tasks) - compared)),
            work=f"{socket.gethostname()}:{job.work.absolute()}",
            recipe=job.recipe,
        )

    def _train(self, plan: FinetunePlan) -> None:
        folder = self._folder(plan)
        snapshot = decode_snapshot(plan.snapshot.encode(), "the plan") if plan.snapshot else None
        reserved = sorted(prompts_of(self._tasks(plan)))
        details: dict[str, Any] = {"runs": list(plan.runs), RESERVED: reserved}
        self._tell(plan, "planned", f"Version {plan.version} is planned.", details)
        summary = self._dataset(plan, snapshot, folder / "dataset")
        if summary is None:
            self._failure = f"Version {plan.version} is not trained: no video can be used."
            self._end(plan, "kept", self._failure, {})
            return
        reach("finetune.dataset-built")
        videos = f"{summary['videos']} videos of {summary['iterations']} iterations"
        details = {key: summary[key] for key in ("videos", "splits", "left_out", "manifest_sha256")}
        details[SHOWN] = sorted(prompts_shown(folder / "dataset"))
        self._tell(plan, "dataset", f"Version {plan.version} shows {videos}.", details)
        checkpoint = self._checkpoint(plan, folder)
        reach("finetune.trained")
        self._tell(plan, "trained", f"Version {plan.version} is trained: {checkpoint}.", {})
        verdict, details = self._compared(plan, snapshot, folder)
        self._tell(plan, "compared", verdict.statement, details)
        reach("finetune.compared")
        self._end(plan, "promoted" if verdict.promote else "kept", verdict.statement, details)

    def _dataset(
        self, plan: FinetunePlan, snapshot: RewardSnapshot | None, out: Path
    ) -> dict[str, Any] | None:
        """Its summary; None if no usable video is left."""
        job = self._job
        if (out / SUMMARY).is_file():
            found: dict[str, Any] = orjson.loads(read_bytes(out / SUMMARY))
            return found
        wanted = set(plan.runs)
        runs: list[EndedRun] = [run for run in self._as_planned(plan) if run.run_id in wanted]
        apart = frozenset(plan.kept_apart)
        choice = choose(with_folders(runs, job.root), job.rules, snapshot, look_at, kept_apart=apart)
        if not choice.chosen:
            return None
        return build_dataset(out, choice, job.rules, job.writing, snapshot, job.pictures(choice), put_as_mp4)

    def _as_planned(self, plan: FinetunePlan) -> list[EndedRun]:
        """The planned runs without later rescorings; if the topic was recreated, all runs that it holds."""
        topic = self._job.kafka.trace_topic
        is_this_topic = plan.topic_ids.get(topic) == self._topic_ids.get(topic)
        return self._inbox.since({}, of_topic(plan.consumed, topic) if is_this_topic else None)

    def _checkpoint(self, plan: FinetunePlan, folder: Path) -> Path:
        job, out = self._job, folder / "checkpoint"
        if out.is_dir():
            return out
        with new_folder(out, _CHECKPOINT_SCHEMA) as building:
            places = {"dataset": folder / "dataset", "out": building, "runs": job.root.absolute()}
            arguments = job.train.filled({k: str(v) for k, v in places.items()} | {"base": plan.base})
            try:
                run_training(
                    arguments, folder, building, timeout_s=job.train_timeout_s, listener=job.listener
                )
            except BadInput as error:
                raise BadInput(
                    f"{error}; fix that and start again: version {plan.version} continues with its dataset"
                ) from None
        return out

    def _compared(
        self, plan: FinetunePlan, snapshot: RewardSnapshot | None, folder: Path
    ) -> tuple[CheckpointVerdict, dict[str, Any]]:
        job = self._job
        checkpoints = {OLD: plan.base, NEW: str(folder / "checkpoint")}
        tasks = with_new_seeds(self._tasks(plan), plan.version, plan.without_promotion)
        try:
            pairs = compare(
                checkpoints,
                tasks,
                job.world_of,
                job.critics,
                snapshot,
                folder / "comparison",
                job.on_pair,
                max_failures=job.max_failures,
            )
        finally:
            job.after_comparison()
        verdict = judge(plan.version, pairs, plan.without_promotion)
        failed = {side: sum(side in pair.errors for pair in pairs) for side in (OLD, NEW)}
        return verdict, {
            **verdict.as_json(),
            "pairs": len(pairs),
            "failed": failed,
            "passed_over": len(plan.passed_over),
        }

    def _tasks(self, plan: FinetunePlan) -> list[PairedTask]:
        """Tasks that its checkpoint is compared on, before they get the comparison's seeds."""
        return comparable(self._job.tasks, plan.passed_over)

    def _end(self, plan: FinetunePlan, step: FinetuneStep, statement: str, details: dict[str, Any]) -> None:
        event = self._tell(plan, step, statement, details)
        reach("finetune.ended")
        self._show_promoted()
        self._plans.remove()
        self._counted = None
        self._inbox.forget(self._stamp(self._history.promoted))
        self._job.say(statement)
        self._job.on_ended(event)

    def _tell(
        self, plan: FinetunePlan, step: FinetuneStep, statement: str, details: dict[str, Any]
    ) -> FinetuneEvent:
        folder = self._folder(plan)
        checkpoint, dataset = folder / "checkpoint", folder / "dataset"
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

    def _show_promoted(self) -> None:
        """Point the link at the checkpoint that the topic says is in force."""
        promoted, link = self._history.promoted, self._job.work / PROMOTED
        if promoted is None:
            return
        beside = link.with_name(f".{PROMOTED}")
        beside.unlink(missing_ok=True)
        os.symlink(promoted.checkpoint, beside)
        beside.replace(link)

    def _snapshot(self) -> RewardSnapshot | None:
        if self._job.reward is not None:
            return self._job.reward
        newest = read_latest_snapshot(self._job.kafka, self._job.model)
        return newest if newest is not None and newest.gate == "active" else None

    def _take(self) -> None:
        self._history.read_up()
        for message in self._reader.read_up():
            self._inbox.add(message)

    def _look(self) -> None:
        """Read the topic; wait for a broker that is unreachable."""
        try:
            self._take()
        except BadInput as error:
            self._job.say(f"{error}; waiting for it")

    def _stamp(self, event: FinetuneEvent | None) -> Offsets:
        topic = self._job.kafka.trace_topic
        return stamp_of(event.consumed, event.topic_ids, topic, self._topic_ids) if event else {}

    def _folder(self, plan: FinetunePlan) -> Path:
        return self._job.work.absolute() / f"{plan.version:04d}"
