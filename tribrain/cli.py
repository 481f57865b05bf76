"""The command line: ``tribrain …`` and ``python -m tribrain.cli …`` are the same program.

Bad input gives one line on standard error and exit code 2.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from streams.errors import BadInput, Fenced
from tribrain.shell.exit_codes import BAD_INPUT, FENCED, INTERRUPTED, NOTHING_MADE, NothingMade
from tribrain.shell.repeated_lines import RepeatedLines

_COMMANDS = {
    "demo": ("tribrain.demo.command:demo", "The whole loop on this machine: runs that learn while they run."),
    "run-simulated": (
        "tribrain.run.commands:run_simulated",
        "One refinement run of the simulated world model.",
    ),
    "run-subprocess": (
        "tribrain.run.commands:run_subprocess",
        "One refinement run of any generator command.",
    ),
    "run-wow": ("tribrain.run.wow:run_wow", "One refinement run of WoW, from a checkout of its repository."),
    "run-suite": (
        "tribrain.suite.command:run_suite",
        "A refinement run for each prompt of a benchmark file.",
    ),
    "rescore": ("tribrain.run.rescore:rescore", "The videos of a finished run judged again."),
    "export-preference-pairs": ("tribrain.rewards.pairs:export_preference_pairs", "Pairs of a finished run."),
    "build-dataset": (
        "tribrain.data.build_dataset:build_dataset_command",
        "Captioned videos of runs to train a world model on.",
    ),
    "finetune": (
        "tribrain.data.finetune:finetune",
        "A world model trained again and again on the best of its videos, live from Kafka.",
    ),
    "export-preferences": (
        "tribrain.data.export_preferences:export_preferences",
        "Pairs for TRL, for DPO of videos, or to be judged in Label Studio.",
    ),
    "train-preference-rm": (
        "tribrain.rewards.pairs:train_preference_rm",
        "A Bradley–Terry reward model of pairs.",
    ),
    "train-lora-rm": ("tribrain.rewards.lora:train_lora_rm", "A LoRA text reward model of pairs."),
    "train-text-rm": (
        "tribrain.rewards.text:train_text_rm",
        "A text reward model of pairs, without PyTorch.",
    ),
    "explain": (
        "tribrain.rewards.explain:explain_model",
        "Which critics and contexts matter to a reward model.",
    ),
    "evaluate-picks": (
        "tribrain.rewards.picks:evaluate_picks",
        "How good the candidate is that is picked of k.",
    ),
    "serve-trainer": (
        "tribrain.serve.trainer:serve_trainer",
        "The trainer: pairs and model, live from Kafka.",
    ),
    "serve-lora": ("tribrain.serve.lora:serve_lora", "A LoRA text reward model, live from Kafka."),
    "serve-text": ("tribrain.serve.text:serve_text", "A text reward model, live from Kafka's pairs."),
    "broker": ("tribrain.log.kafka:broker", "A local Kafka broker on loopback."),
    "topics": ("tribrain.log.kafka:topics", "Create the topics."),
    "users": ("tribrain.log.users:users", "Who may log in to Kafka, with the least rights: create."),
    "publish-trace": ("tribrain.log.kafka:publish_trace", "Send the trace of a finished run to Kafka."),
    "vote": ("tribrain.log.vote:vote", "Votes of people from a file onto Kafka, and back."),
    "end-run": ("tribrain.log.end_run:end_run", "End runs on Kafka that will not end by themselves."),
    "spool": ("tribrain.log.spool:spool", "Events that wait on this computer for Kafka."),
    "replay": ("tribrain.log.replay:replay", "Pairs and model again from the log or from traces, offline."),
    "evaluate-rm": (
        "tribrain.rewards.evaluate:evaluate_rm",
        "How good learners or a model are on unseen pairs.",
    ),
    "verify-state": ("tribrain.log.verify_state:verify_state", "Whether pairs, snapshot and replay agree."),
    "backup": ("tribrain.log.backup:backup", "The whole log into one file, also while trainers run."),
    "restore": ("tribrain.log.backup:restore", "The log of a backup onto an empty broker."),
    "snapshots": (
        "tribrain.log.snapshots:snapshots",
        "Published reward models: list, show, verify, rollback.",
    ),
    "dlq": ("tribrain.log.dlq:dlq", "Messages that could not be used: list, show, replay."),
    "experiment": (
        "tribrain.lab.experiment:experiment",
        "What preferences are worth where the truth is known.",
    ),
    "experiment-finetune": (
        "tribrain.lab.finetune:experiment_finetune",
        "What selected data is worth to the next simulated world model.",
    ),
    "experiment-votes": (
        "tribrain.lab.votes:experiment_votes",
        "How many votes a rule that chooses pairs needs for what random ones teach.",
    ),
    "status": ("tribrain.watch.status:status", "How everything is: Kafka, models, spools, services."),
    "health": ("tribrain.watch.health:health", "Whether a service does its work, for health checks."),
    "doctor": ("tribrain.watch.doctor:doctor", "What of all that TriBrain can use is on this machine."),
    "ui": ("tribrain.ui.command:ui", "The page where people vote and see runs and model."),
    "report": ("tribrain.report:report", "The report of a demo or suite, made again."),
}


class _LazyGroup(click.Group):
    """Imports a command's module only when it is called, so that ``--help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, epilog="Example: tribrain demo")
@click.version_option(package_name="tribrain")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def cli(verbose: bool) -> None:
    """TriBrain learns what people prefer in generated videos while they are being generated."""
    handler = logging.StreamHandler()
    handler.addFilter(RepeatedLines())
    logging.basicConfig(
        handlers=[handler],
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Below INFO kafka-python logs keys and values, and with a broker away it logs an error a second: whoever
    # reads or writes here says once that a broker is away, in words of its own.
    logging.getLogger("kafka").setLevel(logging.ERROR if verbose else logging.CRITICAL)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with what ``tribrain.shell.exit_codes`` says of its end, 0 where it is done."""
    try:
        sys.exit(cli.main(args=arguments, prog_name="tribrain", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(BAD_INPUT)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tribrain"
        _fail(f"{error.format_message()} (try: {command} --help)")
    except (click.ClickException, BadInput) as error:
        _fail(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except Fenced as error:
        _fail(str(error), FENCED)
    except NothingMade as error:
        _fail(str(error), NOTHING_MADE)
    except (click.Abort, KeyboardInterrupt):
        # CPython notes that an interrupt has left an exec of a text (importing a dataclass is one), and would
        # end by the signal whatever the exit code is; the next one clears the note.
        exec("")
        _fail("interrupted", INTERRUPTED)


def _fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    click.echo("tribrain: " + " ".join(message.split()), err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
