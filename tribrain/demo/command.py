"""``tribrain demo``: the whole loop on this machine, from an empty broker to a model that steers."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import click
import orjson
from rich.console import Console

from runner.worlds.simulated_annotator import simulated_annotators
from streams.errors import BadInput
from streams.files import read_bytes
from streams.kafka.settings import Settings
from tribrain.demo.lora import AdapterMonitor, lora_plan, serve_lora_process
from tribrain.demo.options import DemoOptions, demo_options
from tribrain.demo.page import PageService, free_port, look_later, open_in_browser
from tribrain.demo.progress import Monitor, show
from tribrain.demo.replacing import check_may_replace, empty, is_demo
from tribrain.demo.report import build_report
from tribrain.demo.results import DemoPlan, print_results, write_results
from tribrain.demo.runs import run_tasks
from tribrain.demo.votes import DemoVotes
from tribrain.shell.command import Command
from tribrain.shell.dry_run import say_plan
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.supervisor import ServiceProcess

_DRAIN_S = 60.0
_POLL_S = 0.25
_QUICK = ("--every-s", "0.1")
"""Options of the trainer beside the page, so that voters see the effect of a vote at once."""


@click.command(cls=Command, epilog="Example: tribrain demo --tasks 40 --out outputs/demo")
@demo_options
def demo(**given: Any) -> None:
    """Run the whole loop on this computer: broker, trainer, and simulated runs that learn as they go.

    It ends with a table, and writes report.html, summary.json and the last reward model to --out. With --ui
    it continues after its runs, with a new one now and then, until Ctrl-C.
    """
    chosen = DemoOptions(**given)
    started = time.monotonic()
    if chosen.base_model is not None and not chosen.lora:
        raise BadInput("--base-model is for --lora; give --lora as well, or leave it out")
    plan = DemoPlan(
        out=chosen.folder,
        tasks=chosen.runs,
        parallel=chosen.at_once,
        iters=chosen.iters,
        seed=chosen.seed,
        lora=lora_plan(chosen.base_model, chosen.lora_every_pairs) if chosen.lora else None,
        annotators=chosen.n_annotators,
        page_port=free_port(chosen.port) if chosen.with_page else None,
    )
    check_may_replace(plan.out, fresh=chosen.fresh)
    if chosen.dry_run:
        _say_plan(plan, chosen)
        return
    with Interrupts() as interrupts:
        # With --json standard output has the result alone.
        console = Console(stderr=chosen.as_json)
        servers = chosen.bootstrap_servers
        interrupted = _run(plan, servers, started, console, interrupts, browser=chosen.browser)
    if chosen.as_json:
        click.echo(orjson.dumps(orjson.loads(read_bytes(plan.out / "summary.json")) | {"out": str(plan.out)}))
    if interrupted:
        raise KeyboardInterrupt


def _say_plan(plan: DemoPlan, chosen: DemoOptions) -> None:
    replaced = is_demo(plan.out)
    broker = open_kafka(chosen.bootstrap_servers).bootstrap_servers if chosen.bootstrap_servers else None
    facts = {
        "out": str(plan.out),
        "replaces_a_demo": replaced,
        "runs": plan.tasks,
        "at_once": plan.parallel,
        "iterations": plan.iters,
        "seed": plan.seed,
        "annotators": plan.annotators,
        "page_port": plan.page_port,
        "base_model": None if plan.lora is None else plan.lora.base,
        "kafka": broker,
    }
    instead = ", in place of the earlier one" if replaced else ""
    say_plan(f"would run a demo in {plan.out}{instead}", facts, as_json=chosen.as_json)


def _run(
    plan: DemoPlan,
    bootstrap_servers: str | None,
    started: float,
    console: Console,
    interrupts: Interrupts,
    *,
    browser: bool,
) -> bool:
    """Run the demo; whether it was interrupted."""
    # Not at the top, here and below: Kafka's clients take a third of a second, and --help needs none.
    from streams.kafka.topics import create_topics
    from streams.local_broker.broker import start_local_broker

    interrupted = False
    votes: DemoVotes | None = None
    with ExitStack() as stack:
        broker_stays = bool(bootstrap_servers)
        if bootstrap_servers:
            given = open_kafka(bootstrap_servers)
            description = note = f"broker at {given.bootstrap_servers}"
            prefix = f"tribrain-demo-{os.getpid()}-{int(time.time())}"
        else:
            broker = stack.enter_context(start_local_broker())
            given = Settings(bootstrap_servers=broker.bootstrap_servers)
            description, note, prefix = broker.description, broker.note, "tribrain"
        settings = replace(given, topic_prefix=prefix)
        create_topics(settings)
        if is_demo(plan.out):
            console.print(f"{plan.out}: the earlier demo there is replaced", soft_wrap=True, markup=False)
        empty(plan.out)
        console.print(f"{note}; topics {prefix}.*", soft_wrap=True, markup=False)
        page = None if plan.page_port is None else PageService(settings, plan.out, plan.page_port)
        with interrupts.held():
            services = _start(stack, plan, settings, page)
        adapters = None
        if plan.lora is not None:
            adapters = stack.enter_context(AdapterMonitor(plan.lora, settings, plan.out, started))
        monitor = stack.enter_context(Monitor(settings, services, started, plan.tasks, adapters))
        try:
            if page is not None:
                _open(page, console, browser=browser)
            if plan.page or plan.annotators:
                annotators = simulated_annotators(plan.annotators)
                with interrupts.held():
                    votes = stack.enter_context(DemoVotes(settings, plan.out, annotators, plan.seed))
            with show(monitor, console):
                run_tasks(plan, settings, monitor, interrupts)
                if not _wait_until_learnt(monitor, votes, interrupts):
                    console.print(f"some pairs were not learnt within {_DRAIN_S:g} s; see trainer.log")
        except KeyboardInterrupt:
            # With the page that is how it ends, once the planned runs are there.
            interrupted = not (plan.page and monitor.completed >= plan.tasks)
            console.print(
                ("interrupted: " if interrupted else "")
                + f"ending the runs, the trainer{', the page' if page else ''} and the broker …"
            )
        with interrupts.held():
            stack.close()
            summary = write_results(plan, monitor, votes, description, interrupted=interrupted)
    print_results(console, summary, monitor.feed.latest(), build_report(plan.out).path)
    later = look_later(plan.out, settings if broker_stays else None)
    console.print(later, soft_wrap=True, markup=False)
    return interrupted


def _start(
    stack: ExitStack, plan: DemoPlan, settings: Settings, page: PageService | None
) -> list[ServiceProcess]:
    """Start the services, the trainer first. At the end all are terminated before any is waited for."""
    quick = _QUICK if page is not None else ()
    services = [ServiceProcess(settings, ["serve-trainer", *quick], plan.out / "trainer.log")]
    if plan.lora is not None:
        services.append(serve_lora_process(plan.lora, settings, plan.out))
    if page is not None:
        services.append(page.process)
    for service in services:
        stack.enter_context(service)
    for service in services:
        stack.callback(service.terminate)
    return services


def _open(page: PageService, console: Console, *, browser: bool) -> None:
    page.wait_until_up()
    is_opened = browser and open_in_browser(page.url)
    where = "is open in your browser" if is_opened else "is for any browser on this computer"
    console.print(
        f"The page {where}: vote by keyboard at {page.url}vote, and see what the model makes of it at "
        f"{page.url}model. Ctrl-C ends the demo.",
        soft_wrap=True,
        markup=False,
    )


def _wait_until_learnt(monitor: Monitor, votes: DemoVotes | None, interrupts: Interrupts) -> bool:
    """Wait until the pairs of all runs and votes are learnt; False after ``_DRAIN_S`` seconds.

    Annotators first give the votes that are still missing.
    """
    deadline = time.monotonic() + _DRAIN_S
    while not _are_votes_given(monitor, votes) or not monitor.wait_until_learnt(_POLL_S):
        if time.monotonic() > deadline:
            return False
        with interrupts.held():
            monitor.keep_alive()
    return True


def _are_votes_given(monitor: Monitor, votes: DemoVotes | None) -> bool:
    if votes is None:
        return True
    if not votes.have_done_enough:
        time.sleep(_POLL_S)
        return False
    votes.stop()
    monitor.expect(votes.votes())
    return True
