"""Continual fine-tuning: waits for videos that the policy selects, trains, compares, and promotes or not.

A plan on disk fixes each training before it begins, and every step leaves complete results: the folders of
the dataset and the checkpoint are renamed into place, and each pair of the comparison has its own file. If
the process is killed, the next one continues with that plan and repeats nothing that was finished. So does
this one if the training or the comparison failed. Each finished step is an event on Kafka, whose id follows
from the plan, so that a repeated event is recognised. The topic alone decides which checkpoint was promoted.
"""

from __future__ import annotations

import os
import shutil
import socket
import time

from runner.finetune.comparison import ComparisonFailed
from runner.finetune.history import History
from runner.finetune.inbox import EndedRun, Offsets, RunInbox, selected, with_folders
from runner.finetune.job import FinetuneJob
from runner.finetune.line import comparable, prompts_of
from runner.finetune.plan import FinetunePlan
from runner.finetune.round import Round, folder_of
from runner.finetune.training import TrainingFailed
from streams.errors import BadInput
from streams.fail_points import reach
from streams.kafka.incarnations import topic_ids
from streams.kafka.reader import TopicReader
from streams.messages.codec import encode
from streams.messages.contracts import FinetuneEvent, RewardSnapshot, RunRevision
from streams.snapshots.feed import read_latest_snapshot
from trainers.plan_file import PlanFile, as_stamp, of_topic, stamp_of

PROMOTED = "promoted"
"""Name of a link in the work folder to the current checkpoint, after the first promotion."""
_LOOK_EVERY_S = 2.0


def serve(job: FinetuneJob, *, once: bool = False) -> str:
    """Train whenever enough videos are new, until interrupted; with ``once``, train once if any video is new.

    A training or comparison that failed is tried again after ``retry_s``, until ``max_failures`` tries in a
    row have failed; with ``once``, the first failure ends it. Returns why nothing was trained or compared,
    or, with ``once``, an empty string if all went well. Raises BadInput, and Fenced if another job of the
    model has taken over.
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
        failures = 0
        while True:
            try:
                has_trained = self._go_on() or self._begin(1 if once else self._job.every)
            except (TrainingFailed, ComparisonFailed) as error:
                failures += 1
                if once or failures == self._job.max_failures:
                    return f"{error}; fix that and start again: what is finished is kept"
                self._job.say(f"{error}; trying again in {self._job.retry_s:g} s")
                self._counted = None  # the plan may be lost by then, and its runs count again
                time.sleep(self._job.retry_s)
                self._look()
                continue
            if once:
                nothing = not has_trained and self._history.last is None
                return "no video is selected to train on" if nothing else self._failure
            failures = 0
            if not has_trained:
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
            shutil.rmtree(folder_of(self._job, plan), ignore_errors=True)
            return False
        self._job.say(f"version {plan.version} was begun before, and continues")
        self._train(plan)
        return True

    def _begin(self, least: int) -> bool:
        """Plan and train; False if the policy selects fewer than ``least`` new videos."""
        plan = self._plan(least)
        if plan is None:
            return False
        shutil.rmtree(folder_of(self._job, plan), ignore_errors=True)  # leftovers of a lost plan
        self._plans.save(plan)
        reach("finetune.planned")
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
        event = Round(self._job, self._history, plan, self._runs(plan)).run()
        reach("finetune.ended")
        self._show_promoted()
        self._plans.remove()
        self._counted = None
        self._inbox.forget(self._stamp(self._history.promoted))
        self._failure = "" if event.checkpoint else event.statement
        self._job.say(event.statement)
        self._job.on_ended(event)

    def _runs(self, plan: FinetunePlan) -> list[EndedRun]:
        """The planned runs without later rescorings; if the topic was recreated, as they are now."""
        topic = self._job.kafka.trace_topic
        is_this_topic = plan.topic_ids.get(topic) == self._topic_ids.get(topic)
        before = of_topic(plan.consumed, topic) if is_this_topic else None
        planned = set(plan.runs)
        return [run for run in self._inbox.since({}, before) if run.run_id in planned]

    def _show_promoted(self) -> None:
        """Point the link at the checkpoint that is current according to the topic."""
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
