"""``tribrain serve lora``: trains text reward models again and again on the pairs on Kafka."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.errors import BadInput
from streams.kafka.settings import Settings as Kafka
from streams.snapshots.artifacts import ArtifactStore, open_store, path_name
from trainers.extras import require_extra
from tribrain.serve.lora_options import LoraOptions, serve_lora_options
from tribrain.shell import measuring
from tribrain.shell.command import Command
from tribrain.shell.dry_run import say_service_plan
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.output import cache_folder
from tribrain.shell.service_end import saying_end
from tribrain.shell.settings_sources import strength_of
from tribrain.shell.step_progress import steps_shown

if TYPE_CHECKING:
    from streams.metrics.instruments import Instruments


@click.command(
    cls=Command,
    epilog="Example: tribrain serve lora --bootstrap-servers 127.0.0.1:9092 "
    "--base-model distilbert-base-uncased --store adapters",
)
@serve_lora_options
def serve_lora(**given: Any) -> None:
    """Train a LoRA text reward model whenever enough pairs are new, and publish it; until stopped.

    It reads the pairs topic and holds out a fifth of the tasks for good. Each adapter goes to the store, and
    then a snapshot that points to it is published: active only if it beats the adapter in use and the text
    baselines on the held-out tasks. It can be killed and restarted at any time: it continues the training
    that it began, with the same bytes in the end. If two run for the same model, the older one ends with
    exit code 3.
    """
    chosen = LoraOptions(**given)
    model, store = chosen.model, chosen.store
    kafka = open_kafka(chosen.bootstrap_servers, "serve lora", model)
    if not store:
        raise BadInput("--store: the text is empty; expected a folder or a URI")
    longest_s = every_s(chosen)
    if chosen.every_pairs > chosen.most_pairs:
        raise BadInput(
            f"--every-pairs {chosen.every_pairs} is more than --max-pairs {chosen.most_pairs}; give fewer"
        )
    require_extra("lora")
    work = chosen.work_dir or _default_work(store, model)
    artifacts = open_store(store)
    if chosen.dry_run:
        deed = f"train adapters of model {model!r} on {chosen.base_model} into {store}"
        say_service_plan(kafka, deed, as_json=chosen.as_json)
        return
    os.nice(chosen.niceness)

    try:
        with (
            Interrupts(),
            measuring.measured("lora", chosen.metrics_port, chosen.metrics_host) as instruments,
        ):
            _serve(kafka, chosen, longest_s, artifacts, work, instruments)
    except KeyboardInterrupt:
        _say("stopped; the next start goes on from here")


def every_s(chosen: LoraOptions) -> float:
    """Seconds by --every-s or its earlier spelling in minutes, whichever source takes precedence."""
    if chosen.every_minutes is None:
        return chosen.every_s
    context = click.get_current_context()
    in_seconds, in_minutes = strength_of(context, "every_s"), strength_of(context, "every_minutes")
    if in_seconds == in_minutes:
        raise click.UsageError("--every-s and --every-minutes set the same time; give one of them")
    return chosen.every_s if in_seconds > in_minutes else 60.0 * chosen.every_minutes


def _serve(
    kafka: Kafka,
    chosen: LoraOptions,
    longest_s: float,
    store: ArtifactStore,
    work: Path,
    instruments: Instruments,
) -> None:
    """Train until stopped, or once. Raises NothingMade where nothing could be trained."""
    from streams.kafka.topics import create_topics
    from trainers.lora.prepare import checked_base

    checked_base(chosen.base_model, chosen.training)
    create_topics(kafka)
    from trainers.lora.meter import Meter
    from trainers.lora.periodic import LoraJob, serve
    from trainers.lora.round import TrainingRecipe
    from tribrain.serve.lora_metrics import expose_lora, facts_of

    meter = Meter()
    expose_lora(instruments, meter, work)
    taken = "another tribrain serve lora is at work there; stop it or give another --work-dir"
    with exclusive_lock(work, "--work-dir", taken):
        _say(f"model {chosen.model!r} trains from {kafka.bootstrap_servers}")
        job = LoraJob(
            kafka=kafka,
            model=chosen.model,
            recipe=TrainingRecipe(
                base=chosen.base_model,
                settings=chosen.training,
                start=chosen.start,
                replay=chosen.replay,
                most_pairs=chosen.most_pairs,
            ),
            store=store,
            work=work,
            every_pairs=chosen.every_pairs,
            every_s=longest_s,
            accept_new_topics=chosen.accept_new_topics,
            say=_say,
            steps=steps_shown,
            meter=meter,
        )
        with saying_end(
            "lora", chosen.model, lambda: facts_of(meter), once=chosen.once, as_json=chosen.as_json
        ):
            if failure := serve(job, once=chosen.once):
                raise NothingMade(f"model {chosen.model!r}: {failure}")


def _say(what: str) -> None:
    click.echo(f"tribrain serve lora: {what}", err=True)


def _default_work(store: str, model: str) -> Path:
    """A folder of its own for each store and model."""
    if "://" not in store:
        return Path(f"{store.rstrip('/')}.work") / path_name(model)
    return cache_folder() / "serve-lora" / path_name(store) / path_name(model)
