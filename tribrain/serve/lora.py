"""``tribrain serve lora``: text reward models trained again and again from the pairs on Kafka."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from cloup import option_group

from streams.errors import BadInput
from streams.kafka.settings import Settings as Kafka
from streams.snapshots.artifacts import ArtifactStore, open_store, path_name
from trainers.lora.extra import require_extra
from trainers.lora.settings import LoraSettings
from tribrain.shell import lora_options, measuring, options
from tribrain.shell.command import Command
from tribrain.shell.dry_run import dry_run, say_service_plan
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, FiniteFloat, Integer, Seconds
from tribrain.shell.output import cache_folder
from tribrain.shell.renamed import Renamed
from tribrain.shell.step_progress import steps_shown

if TYPE_CHECKING:
    from streams.metrics.instruments import Instruments


@click.command(
    cls=Command,
    epilog="Example: tribrain serve lora --bootstrap-servers 127.0.0.1:9092 "
    "--base-model distilbert-base-uncased --store adapters",
)
@option_group(
    "Model",
    options.base_model,
    options.model,
    click.option(
        "--store",
        required=True,
        metavar="FOLDER|URI",
        help="Where adapters go: a folder that runs can read, or an fsspec URI, e.g. s3://bucket/adapters.",
    ),
    lora_options.rank,
    lora_options.layers,
    lora_options.length,
)
@option_group(
    "When to train",
    click.option(
        "--every-pairs",
        type=Integer(min=1),
        default=200,
        help="Train after this many new pairs of people and validators …",
    ),
    click.option(
        "--every-s",
        type=Seconds(min=0.0, min_open=True),
        default="6h",
        help="… or after this time since the first new pair.",
    ),
    click.option(
        "--every-minutes", type=FiniteFloat(min=0.0, min_open=True), hidden=True, help="In minutes."
    ),
    click.option("--once", is_flag=True, help="Train once if there are new pairs, then stop."),
)
@option_group(
    "Training",
    click.option(
        "--start",
        type=click.Choice(["warm", "afresh"]),
        default="warm",
        help="Start from the last adapter with new pairs and some old ones, or from scratch with all pairs.",
    ),
    click.option(
        "--replay",
        type=FiniteFloat(min=0.0, max=1.0, max_open=True),
        default=0.5,
        help="Share of old pairs in a warm start.",
    ),
    click.option(
        "--max-pairs",
        "most_pairs",
        cls=Renamed,
        old=("--most-pairs",),
        type=Integer(min=2),
        default=4000,
        help="Use only this many of the newest pairs.",
    ),
    lora_options.lr,
    lora_options.epochs,
    lora_options.batch,
    options.seed("Random seed of initial weights and order."),
)
@option_group(
    "This process",
    click.option(
        "--work-dir",
        type=PATH,
        metavar="FOLDER",
        show_default="beside the folder of --store, or in ~/.cache/tribrain",
        help="Local folder for plan and checkpoint of a training.",
    ),
    click.option(
        "--niceness", type=Integer(0, 19), default=10, help="Process niceness; 19 is the lowest priority."
    ),
    click.option("--threads", type=Integer(min=1), default=1, help="Processor threads."),
    click.option(
        "--accept-new-topics",
        is_flag=True,
        help="Continue from the newest snapshot where a topic was deleted and created again.",
    ),
)
@option_group("Kafka and metrics", bootstrap_servers, measuring.metrics_port, dry_run)
def serve_lora(
    bootstrap_servers: str | None,
    base_model: str,
    store: str,
    model: str,
    every_pairs: int,
    every_s: float,
    every_minutes: float | None,
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

    It reads the pairs topic and holds out a fifth of the tasks for good. Each adapter goes to the store, and
    then a snapshot that points to it is published: active only if it beats the adapter in use and the text
    baselines on the held-out tasks. It can be killed and restarted at any time: it continues the training
    that it began, with the same bytes in the end. If two run for the same model, the older one ends with
    exit code 3.
    """
    kafka = open_kafka(bootstrap_servers, "serve-lora", model)
    if not store:
        raise BadInput("--store: the text is empty; expected a folder or a URI")
    if every_minutes is not None:
        source = click.get_current_context().get_parameter_source("every_s")
        if source is not ParameterSource.DEFAULT:
            raise click.UsageError("--every-s and --every-minutes set the same time; give one of them")
        every_s = 60.0 * every_minutes
    if every_pairs > most_pairs:
        raise BadInput(f"--every-pairs {every_pairs} is more than --max-pairs {most_pairs}; give fewer")
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
                    "every_s": every_s,
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
    taken = "another tribrain serve lora is at work there; stop it or give another --work-dir"
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
    click.echo(f"tribrain serve lora: {what}", err=True)


def _default_work(store: str, model: str) -> Path:
    """One of each store and model."""
    if "://" not in store:
        return Path(f"{store.rstrip('/')}.work") / path_name(model)
    return cache_folder() / "serve-lora" / path_name(store) / path_name(model)
