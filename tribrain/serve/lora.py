"""``tribrain serve-lora``: text reward models trained again and again from the pairs on Kafka."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.errors import BadInput
from streams.kafka.settings import Settings as Kafka
from streams.snapshots.artifacts import ArtifactStore, open_store, path_name
from trainers.lora.extra import require_extra
from trainers.lora.settings import ALL, TOP_HALF, LoraSettings
from tribrain.shell import measuring, options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run, say_service_plan
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.output import cache_folder
from tribrain.shell.step_progress import steps_shown

if TYPE_CHECKING:
    from streams.metrics.instruments import Instruments

_DEFAULT = LoraSettings()


@click.command(
    cls=Command,
    epilog="Example: tribrain serve lora --bootstrap-servers 127.0.0.1:9092 "
    "--base-model distilbert-base-uncased --store adapters",
)
@bootstrap_servers
@click.option(
    "--base-model",
    required=True,
    metavar="NAME|FOLDER",
    help="The pretrained model to adapt, as for train-lora-rm.",
)
@click.option(
    "--store",
    required=True,
    metavar="FOLDER|URI",
    help="Where adapters are put: a folder that runs see, too, or a URI of fsspec, e.g. s3://bucket/adapters.",
)
@options.model
@click.option(
    "--every-pairs",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Train once so many pairs of people and validators have come …",
)
@click.option(
    "--every-minutes",
    type=FiniteFloat(min=0.0, min_open=True),
    default=360.0,
    show_default=True,
    help="… or so long after the first of fewer.",
)
@click.option("--once", is_flag=True, help="Train now if anything is new, and end.")
@click.option(
    "--start",
    type=click.Choice(["warm", "afresh"]),
    default="warm",
    show_default=True,
    help="Begin with the adapter before, the new pairs and some old ones; or at random, with all pairs.",
)
@click.option(
    "--replay",
    type=FiniteFloat(min=0.0, max=1.0, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of old pairs in a warm training.",
)
@click.option(
    "--most-pairs",
    type=click.IntRange(min=2),
    default=4000,
    show_default=True,
    help="Use the newest so many pairs alone.",
)
@click.option(
    "--work-dir",
    type=PATH,
    help="Plan and checkpoint of a training, on a local disk; by default beside the folder of --store, or "
    "in ~/.cache/tribrain.",
)
@click.option(
    "--accept-new-topics",
    is_flag=True,
    help="Go on from the newest snapshot where the pairs topic was deleted and made again.",
)
@click.option(
    "--rank", type=click.IntRange(min=1), default=_DEFAULT.rank, show_default=True, help="Of LoRA's matrices."
)
@click.option(
    "--layers",
    default=TOP_HALF,
    show_default=True,
    metavar=f"{TOP_HALF}|{ALL}|N",
    help="Which layers are adapted; N counts from the top.",
)
@click.option(
    "--length",
    type=click.IntRange(min=16),
    default=_DEFAULT.length,
    show_default=True,
    help="Tokens of goal and candidate together.",
)
@click.option(
    "--lr",
    type=FiniteFloat(min=0, min_open=True),
    default=_DEFAULT.lr,
    show_default=True,
    help="Highest learning rate.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=1, show_default=True, help="Passes over the pairs."
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=_DEFAULT.batch, show_default=True, help="Pairs a step."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of start and order.")
@click.option(
    "--niceness",
    type=click.IntRange(0, 19),
    default=10,
    show_default=True,
    help="How far it stands back behind other processes.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of the processor.")
@measuring.metrics_port
@dry_run
def serve_lora(
    bootstrap_servers: str | None,
    base_model: str,
    store: str,
    model: str,
    every_pairs: int,
    every_minutes: float,
    once: bool,
    start: str,
    replay: float,
    most_pairs: int,
    work_dir: Path | None,
    accept_new_topics: bool,
    niceness: int,
    metrics_port: int | None,
    metrics_host: str,
    dry_run: bool,
    **recipe: Any,
) -> None:
    """Train a LoRA text reward model whenever enough pairs are new, and publish it; until stopped.

    It reads the pairs topic, keeps a fifth of the tasks apart for ever, puts each adapter into the store and
    then publishes a snapshot that points to it: active only if it is shown to beat the adapter in force and
    the text baselines on the tasks kept apart. It may be killed at any time and started again: it goes on
    with the training that it had begun, and ends with the same bytes. One process trains a model; an older
    one ends with exit code 3. It runs at low priority.
    """
    kafka = open_kafka(bootstrap_servers, "serve-lora", model)
    if not store:
        raise BadInput("--store: the text is empty; expected a folder or a URI")
    if every_pairs > most_pairs:
        raise BadInput(f"--every-pairs {every_pairs} is more than --most-pairs {most_pairs}; give fewer")
    require_extra()
    work = work_dir or _default_work(store, model)
    artifacts = open_store(store)
    if dry_run:
        say_service_plan(kafka, f"train adapters of model {model!r} on {base_model} into {store}")
        return
    os.nice(niceness)

    try:
        with (
            Interrupts(),
            measuring.measured("lora", metrics_port, metrics_host) as instruments,
        ):
            failure = _serve(
                kafka,
                model,
                base_model,
                LoraSettings(**recipe),
                {"start": start, "replay": replay, "most_pairs": most_pairs},
                artifacts,
                work,
                {
                    "every_pairs": every_pairs,
                    "every_s": 60.0 * every_minutes,
                    "accept_new_topics": accept_new_topics,
                },
                once=once,
                instruments=instruments,
            )
    except KeyboardInterrupt:
        _say("stopped; the next start goes on from here")
        return
    if failure:
        raise NothingMade(f"model {model!r}: {failure}")


def _serve(
    kafka: Kafka,
    model: str,
    base_model: str,
    settings: LoraSettings,
    recipe: Mapping[str, Any],
    store: ArtifactStore,
    work: Path,
    when: Mapping[str, Any],
    *,
    once: bool,
    instruments: Instruments,
) -> str:
    """Why nothing could be trained; else nothing."""
    from streams.kafka.topics import create_topics
    from trainers.lora.prepare import checked_base

    checked_base(base_model, settings)
    create_topics(kafka)
    from trainers.lora.meter import Meter
    from trainers.lora.periodic import Job, serve
    from trainers.lora.round import Recipe
    from tribrain.serve.lora_metrics import expose_lora

    meter = Meter()
    expose_lora(instruments, meter, work)
    taken = "another serve-lora is at work there; stop it or give another --work-dir"
    with exclusive_lock(work, "--work-dir", taken):
        _say(f"model {model!r} trains from {kafka.bootstrap_servers}")
        job = Job(
            kafka=kafka,
            model=model,
            recipe=Recipe(base=base_model, settings=settings, **recipe),
            store=store,
            work=work,
            say=_say,
            steps=steps_shown,
            meter=meter,
            **when,
        )
        return serve(job, once=once)


def _say(what: str) -> None:
    click.echo(f"tribrain serve-lora: {what}", err=True)


def _default_work(store: str, model: str) -> Path:
    """One of each store and model."""
    if "://" not in store:
        return Path(f"{store.rstrip('/')}.work") / path_name(model)
    return cache_folder() / "serve-lora" / path_name(store) / path_name(model)
