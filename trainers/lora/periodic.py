"""The periodic training: reads pairs from Kafka, trains when enough are new, stores and publishes.

A plan on disk fixes everything that determines a training's bytes before it begins. If the process is killed,
the next one continues with that plan, finds the training's own checkpoint, stores under the same name and
publishes the same snapshot. A snapshot is published only once the store has the files that it points to.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streams.errors import BadInput
from streams.fail_points import reach
from streams.kafka.incarnations import TopicMadeAgain, check_incarnations, topic_ids
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.messages.codec import sealed
from streams.messages.contracts import AdapterSnapshot
from streams.snapshots.artifacts import ArtifactStore, content_hash, listed, path_name
from streams.snapshots.held_writer import HeldWriter
from trainers.lora.adapter import REWARD
from trainers.lora.base_model import find_base
from trainers.lora.baselines import baselines
from trainers.lora.before import Before, adapters_before, in_force_of
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.inbox import Arrived, PairInbox
from trainers.lora.meter import Meter
from trainers.lora.plan import LoraPlan, as_json
from trainers.lora.round import Baselines, TrainingRecipe, parts_of, train_round
from trainers.lora.training import TrainingStep
from trainers.plan_file import PlanFile, as_stamp, of_topic, stamp_of

_LOOK_EVERY_S = 1.0
_LOOKS_A_CHECK = 60
"""Checks for new pairs after which the topic itself is checked."""
_BEFORE = "before"
"""Folder of the earlier adapters."""


@dataclass(frozen=True, slots=True)
class LoraJob:
    """What is trained, when, and where it goes."""

    kafka: Settings
    model: str
    recipe: TrainingRecipe
    store: ArtifactStore
    work: Path
    """This job's own folder: plan, checkpoint, and the earlier adapters."""
    every_pairs: int
    every_s: float
    """Seconds from the arrival of the oldest new pair until a training is due, whatever their number."""
    accept_new_topics: bool = False
    baselines: Baselines = baselines
    """Baselines that an adapter has to beat, besides the adapter in force."""
    say: Callable[[str], None] = print
    steps: Callable[[], AbstractContextManager[Callable[[TrainingStep], None]]] = lambda: nullcontext(
        lambda step: None
    )
    """Makes, for each training, the function called after each of its steps."""
    wait: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    """Seconds since the epoch, like the broker's arrival times."""
    meter: Meter = field(default_factory=Meter)


def serve(job: LoraJob, *, once: bool = False) -> str:
    """Train whenever enough pairs are new, until interrupted; with ``once``, train once if any pair is new.

    Returns why nothing could be trained, if there is no version yet or something is new; otherwise an empty
    string. Raises Fenced if another job of the same model has started, and BadInput.
    """
    with (
        HeldWriter(AdapterSnapshot, job.kafka, job.model) as writer,
        TopicReader(job.kafka, job.kafka.pairs_topic) as reader,
    ):
        return _Serving(job, writer, reader).run(once=once)


class _Serving:
    def __init__(self, job: LoraJob, writer: HeldWriter[AdapterSnapshot], reader: TopicReader) -> None:
        base = find_base(job.recipe.base)
        settings = job.recipe.settings.for_base(base.config)
        self._job = replace(job, recipe=replace(job.recipe, settings=settings))
        self._base_sha256 = base.sha256()
        self._writer, self._reader = writer, reader
        self._topic = job.kafka.pairs_topic
        self._inbox = PairInbox(job.model, job.recipe.most_pairs)
        self._plans = PlanFile(job.work, LoraPlan)
        self._checkpoint = TrainingCheckpoint(job.work / "round")
        self._newest: AdapterSnapshot | None = None
        self._topic_ids: dict[str, str] = {}
        self._said = ""

    def run(self, *, once: bool) -> str:
        job = self._job
        self._newest = job.meter.newest = self._writer.open()
        self._topic_ids = topic_ids(job.kafka, (self._topic,))
        if self._newest is not None:
            version = f"version {self._newest.version} of the text reward of model {job.model!r}"
            try:
                check_incarnations(self._newest.topic_ids, self._topic_ids, version)
            except TopicMadeAgain:
                if not job.accept_new_topics:
                    raise
        if self._go_on() and once:
            return ""
        self._take(self._reader.read_up())
        job.meter.new_pairs = len(self._new())
        self._say_what_there_is()
        looks = 0
        while True:
            if self._is_due(once) and self._begin():
                if once:
                    return ""
            elif once:
                return self._said or ("" if self._newest is not None else "there is no pair to train on")
            job.wait(_LOOK_EVERY_S)
            self._look()
            looks += 1
            if looks % _LOOKS_A_CHECK == 0:
                self._check_topic()

    def _go_on(self) -> bool:
        """Finish the training that was already begun; False if there is none."""
        plan = self._plans.load()
        if plan is None:
            return False
        if plan != self._plan_now(plan.consumed):
            is_over = self._newest is not None and plan.version <= self._newest.version
            if not is_over:
                self._job.say(f"version {plan.version} was begun with other options, and starts over")
            self._clean_up()
            return False
        self._take(self._reader.read_up(of_topic(plan.consumed, self._topic)))
        if as_stamp(self._inbox.consumed) != plan.consumed.get(self._topic):
            self._job.say(
                f"version {plan.version} was begun with pairs that no longer exist, and starts over"
            )
            self._clean_up()
            return False
        self._job.say(f"version {plan.version} was begun before, and continues")
        self._round(plan)
        return True

    def _begin(self) -> bool:
        """Plan and train; False if there is too little to train on."""
        plan = self._plan_now({self._topic: as_stamp(self._inbox.consumed)})
        try:
            parts_of(self._inbox.pairs(), {}, self._job.recipe, warm=False)
        except BadInput as error:
            self._say_once(f"not trained yet: {error}")
            return False
        self._clean_up()
        self._plans.save(plan)
        reach("lora.planned")
        self._round(plan)
        return True

    def _round(self, plan: LoraPlan) -> None:
        self._job.meter.is_training = True
        try:
            self._train(plan)
        finally:
            self._job.meter.is_training = False

    def _train(self, plan: LoraPlan) -> None:
        job = self._job
        started = time.monotonic()
        before = self._before()
        learnt = self._new_from() if before.start is None else before.learnt
        parts = parts_of(self._inbox.pairs(), learnt, job.recipe, warm=before.start is not None)
        with job.steps() as show:
            trained = train_round(
                parts,
                job.recipe,
                self._checkpoint,
                model=job.model,
                version=plan.version,
                start=before.start,
                in_force=before.in_force,
                baselines=job.baselines,
                on_step=lambda step: self._after(step, show),
            )
        reach("lora.trained")
        files = listed(trained.files)
        name = f"{path_name(job.model)}/{plan.version}-{content_hash(files)[:12]}"
        uri = job.store.put(name, trained.files, last=REWARD)
        reach("lora.stored")
        stays = in_force_of(self._newest) if trained.keeps_in_force else {}
        snapshot = sealed(
            AdapterSnapshot(
                model=job.model,
                version=plan.version,
                gate=trained.gate,
                statement=trained.statement,
                base_model=trained.base_model,
                uri=uri,
                files=files,
                labels=trained.labels,
                metrics=trained.metrics | {"passed_over": dict(sorted(self._inbox.passed_over.items()))},
                consumed=plan.consumed,
                topic_ids=plan.topic_ids,
                in_force=stays,
            )
        )
        self._writer.publish(snapshot)
        reach("lora.published")
        self._newest = snapshot
        self._clean_up()
        took = time.monotonic() - started
        job.meter.ended(snapshot, took, time.time())
        job.meter.new_pairs = len(self._new())
        of = trained.metrics["models"]["LoRA"]
        job.say(
            f"version {plan.version} ({trained.metrics['start']}, pairs: {len(parts.train)}, "
            f"new: {parts.n_new}, {took:.0f} s): accuracy {of['accuracy']:.3f}, "
            f"log loss {of['log_loss']:.3f} held out. {trained.statement} {uri}"
        )

    def _before(self) -> Before:
        job = self._job
        return adapters_before(
            self._newest,
            job.recipe,
            self._base_sha256,
            cache=job.work / _BEFORE,
            stamp=lambda consumed, ids: stamp_of(consumed, ids, self._topic, self._topic_ids),
            say=job.say,
        )

    def _plan_now(self, consumed: dict[str, dict[str, int]]) -> LoraPlan:
        newest = self._newest
        return LoraPlan(
            model=self._job.model,
            version=newest.version + 1 if newest else 1,
            after=newest.checksum if newest else "",
            consumed=consumed,
            new_from={self._topic: as_stamp(self._new_from())},
            topic_ids=self._topic_ids,
            recipe=as_json(self._job.recipe) | {"base model's SHA-256": self._base_sha256},
        )

    def _new_from(self) -> dict[int, int]:
        newest = self._newest
        return stamp_of(newest.consumed, newest.topic_ids, self._topic, self._topic_ids) if newest else {}

    def _new(self) -> list[Arrived]:
        return self._inbox.new_since(self._new_from())

    def _is_due(self, once: bool) -> bool:
        new = self._new()
        if not new or once or len(new) >= self._job.every_pairs:
            return bool(new)
        return self._job.now() - new[0].timestamp_ms / 1000 >= self._job.every_s

    def _look(self) -> None:
        """Read new pairs; wait for a broker that is unreachable."""
        try:
            self._take(self._reader.read_up())
        except BadInput as error:
            self._say_once(f"{error}; waiting for it")
        else:
            self._job.meter.new_pairs = len(self._new())

    def _check_topic(self) -> None:
        """Raises TopicMadeAgain if the topic was recreated meanwhile: nothing more would be read."""
        try:
            now = topic_ids(self._job.kafka, (self._topic,))
        except BadInput:
            return  # the broker is unreachable: wait for it
        check_incarnations(self._topic_ids, now, "this job")

    def _say_once(self, what: str) -> None:
        if what != self._said:
            self._job.say(what)
        self._said = what

    def _take(self, messages: Iterable[Any]) -> None:
        for message in messages:
            self._inbox.add(message)
        self._job.meter.moves()

    def _say_what_there_is(self) -> None:
        passed = ", ".join(f"{reason} ({n})" for reason, n in sorted(self._inbox.passed_over.items()))
        self._job.say(
            f"text pairs of people and validators: {len(self._inbox.pairs())}, new: {len(self._new())}"
            + (f"; passed over: {passed}" if passed else "")
        )

    def _clean_up(self) -> None:
        # The plan first: without a plan, an old checkpoint does not matter.
        self._plans.remove()
        self._checkpoint.remove()
        shutil.rmtree(self._job.work / _BEFORE, ignore_errors=True)

    def _after(self, step: TrainingStep, show: Callable[[TrainingStep], None]) -> None:
        reach("lora.step")
        self._job.meter.moves()
        show(step)
