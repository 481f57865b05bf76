"""The command line: ``tribrain …`` and ``python -m tribrain.cli …`` are the same program.

Bad input gives one line on standard error and exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from cloup import Context, HelpTheme, Style

from streams.errors import BadInput, Fenced
from streams.files import disk_is_full, plain
from tribrain.shell.exit_codes import BAD_INPUT, FENCED, INTERRUPTED, NOTHING_MADE, NothingMade
from tribrain.shell.lazy_group import Entry, LazyGroup
from tribrain.shell.logs import log_to_stderr

GROUPS = {
    "run": "Refine one video, and work on finished runs.",
    "suite": "Refine all prompts of a benchmark.",
    "pairs": "Make preference pairs and share them.",
    "reward": "Train, explain and evaluate reward models.",
    "data": "Build training data and fine-tune world models.",
    "serve": "Run the live services.",
    "log": "Look after Kafka's log: topics, votes, snapshots, backups.",
    "lab": "Measure in simulation what preferences are worth.",
}
COMMANDS = (
    Entry("demo", "tribrain.demo.command:demo", "Run the whole loop on this computer and write a report."),
    Entry("ui", "tribrain.ui.command:ui", "Serve the web page for votes, runs and models."),
    Entry("status", "tribrain.watch.status:status", "Show the state of Kafka, models and services."),
    Entry("health", "tribrain.watch.health:health", "Check one service, for health probes."),
    Entry("doctor", "tribrain.watch.doctor:doctor", "Check what is installed on this computer."),
    Entry("report", "tribrain.report:report", "Write the report of a demo or suite again."),
    Entry("config", "tribrain.config:config", "Show where a command's options come from."),
    Entry(
        "run simulated",
        "tribrain.run.commands:run_simulated",
        "Refine a video in the simulated world.",
        "run-simulated",
    ),
    Entry(
        "run subprocess",
        "tribrain.run.commands:run_subprocess",
        "Refine a video with any generator command.",
        "run-subprocess",
    ),
    Entry("run wow", "tribrain.run.wow:run_wow", "Refine a video with a WoW model.", "run-wow"),
    Entry(
        "run rescore", "tribrain.run.rescore:rescore", "Score the videos of a finished run again.", "rescore"
    ),
    Entry("run end", "tribrain.log.end_run:end_run", "End abandoned runs on Kafka.", "end-run"),
    Entry(
        "suite run",
        "tribrain.suite.command:run_suite",
        "Refine a video for each prompt of a benchmark file.",
        "run-suite",
    ),
    Entry(
        "pairs export",
        "tribrain.rewards.pairs:export_preference_pairs",
        "Write the preference pairs of a finished run.",
        "export-preference-pairs",
    ),
    Entry(
        "pairs share",
        "tribrain.data.export_preferences:export_preferences",
        "Export pairs for TRL, for DPO of videos or for Label Studio.",
        "export-preferences",
    ),
    Entry(
        "reward train",
        "tribrain.rewards.pairs:train_preference_rm",
        "Train a Bradley–Terry reward model on pairs.",
        "train-preference-rm",
    ),
    Entry(
        "reward train-text",
        "tribrain.rewards.text:train_text_rm",
        "Train a text reward model on pairs, without PyTorch.",
        "train-text-rm",
    ),
    Entry(
        "reward train-lora",
        "tribrain.rewards.lora:train_lora_rm",
        "Train a LoRA text reward model on pairs.",
        "train-lora-rm",
    ),
    Entry(
        "reward explain",
        "tribrain.rewards.explain:explain_model",
        "Show how a reward model weighs critics and contexts.",
        "explain",
    ),
    Entry(
        "reward evaluate",
        "tribrain.rewards.evaluate:evaluate_rm",
        "Score learners, or a reward model, on unseen pairs.",
        "evaluate-rm",
    ),
    Entry(
        "reward picks",
        "tribrain.rewards.picks:evaluate_picks",
        "Score the model's pick among k candidates.",
        "evaluate-picks",
    ),
    Entry(
        "data build",
        "tribrain.data.build_dataset:build_dataset_command",
        "Build a dataset of captioned videos from runs.",
        "build-dataset",
    ),
    Entry(
        "data finetune",
        "tribrain.data.finetune:finetune",
        "Fine-tune a world model on its best videos, live from Kafka.",
        "finetune",
    ),
    Entry(
        "serve trainer",
        "tribrain.serve.trainer:serve_trainer",
        "Learn preferences live and publish reward models.",
        "serve-trainer",
    ),
    Entry(
        "serve text",
        "tribrain.serve.text:serve_text",
        "Train and publish a text reward model, live.",
        "serve-text",
    ),
    Entry(
        "serve lora",
        "tribrain.serve.lora:serve_lora",
        "Train and publish a LoRA text reward model, live.",
        "serve-lora",
    ),
    Entry("serve broker", "tribrain.log.kafka:broker", "Run a local Kafka broker.", "broker"),
    Entry("serve page", "tribrain.ui.command:ui", "Serve the web page; the same as tribrain ui."),
    Entry("log topics", "tribrain.log.kafka:topics", "Create the topics.", "topics"),
    Entry("log users", "tribrain.log.users:users", "Create Kafka users with least rights.", "users"),
    Entry(
        "log publish",
        "tribrain.log.kafka:publish_trace",
        "Send the trace of a finished run to Kafka.",
        "publish-trace",
    ),
    Entry("log vote", "tribrain.log.vote:vote", "Import or export people's votes.", "vote"),
    Entry("log spool", "tribrain.log.spool:spool", "Show or send events that wait for Kafka.", "spool"),
    Entry(
        "log replay",
        "tribrain.log.replay:replay",
        "Rebuild pairs and reward model from the log or from traces.",
        "replay",
    ),
    Entry(
        "log verify",
        "tribrain.log.verify_state:verify_state",
        "Check that pairs, snapshot and replay agree.",
        "verify-state",
    ),
    Entry(
        "log snapshots",
        "tribrain.log.snapshots:snapshots",
        "List, show, verify or roll back published reward models.",
        "snapshots",
    ),
    Entry(
        "log dead-letters",
        "tribrain.log.dlq:dlq",
        "List, show or replay messages that could not be used.",
        "dlq",
    ),
    Entry("log backup", "tribrain.log.backup:backup", "Write the whole log into one file.", "backup"),
    Entry("log restore", "tribrain.log.backup:restore", "Write a backup onto an empty broker.", "restore"),
    Entry(
        "lab experiment",
        "tribrain.lab.experiment:experiment",
        "Measure how many generations preferences save.",
        "experiment",
    ),
    Entry(
        "lab finetune",
        "tribrain.lab.finetune:experiment_finetune",
        "Measure what selected training videos are worth.",
        "experiment-finetune",
    ),
    Entry(
        "lab votes",
        "tribrain.lab.votes:experiment_votes",
        "Measure how many votes each way of choosing pairs needs.",
        "experiment-votes",
    ),
)


def _heading(text: str) -> str:
    """Not in the line of usage, where Click would count the codes as characters when it wraps."""
    return text if text == "Usage:" else click.style(text, bold=True)


_THEME = HelpTheme(heading=_heading, col1=Style(fg="cyan"))


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    groups=GROUPS,
    context_settings=Context.settings(
        help_option_names=["-h", "--help"],
        formatter_settings={"theme": _THEME},
        max_content_width=100,
        show_default=True,
    ),
    epilog="""\b
Exit codes:
  0    done
  1    failed, or a check found something wrong
  2    bad input: the message says what was found, what is needed and what to do
  3    another process has taken over
  4    nothing could be made
  130  interrupted

tribrain GROUP --help lists the commands of a group.""",
)
@click.version_option(package_name="tribrain")
@click.option("-v", "--verbose", is_flag=True, help="Log more to standard error.")
def cli(verbose: bool) -> None:
    """TriBrain learns what people prefer in generated videos while they are being generated.

    \b
    Examples:
      tribrain demo
      tribrain run simulated --goal "move the red cube to the bowl" --out runs/a
    """
    log_to_stderr(verbose=verbose)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with what ``tribrain.shell.exit_codes`` says of its end, 0 where it is done."""
    # By default Click has colours where it writes to a terminal.
    color = False if os.environ.get("NO_COLOR") else None
    _require_utf_8(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(cli.main(args=arguments, prog_name="tribrain", standalone_mode=False, color=color) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True, color=color)
        sys.exit(BAD_INPUT)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tribrain"
        _fail(f"{_usage_message(error)} (try: {command} --help)")
    except (click.ClickException, BadInput) as error:
        _fail(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except Fenced as error:
        _fail(str(error), FENCED)
    except NothingMade as error:
        _fail(str(error), NOTHING_MADE)
    except OSError as error:
        if not disk_is_full(error):
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        _fail(
            f"{where}the disk is full, or the user's share of it; make room, and give the same command again"
        )
    except (click.Abort, KeyboardInterrupt):
        # CPython notes that an interrupt has left an exec of a text (importing a dataclass is one), and would
        # end by the signal whatever the exit code is; the next one clears the note.
        exec("")
        _fail("interrupted", INTERRUPTED)


def _require_utf_8(arguments: Sequence[str]) -> None:
    """What is given is written into files as text, names of files too."""
    variables = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("TRIBRAIN_")]
    for given in (*arguments, *variables):
        if (shown := plain(given)) != given:
            _fail(f"{shown} is not UTF-8; expected text and names of files in UTF-8: rename the file")


def _usage_message(error: click.UsageError) -> str:
    if not isinstance(error, click.NoSuchOption):
        return error.format_message()
    close = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
    return f"no such option: {error.option_name}{close}"


def _fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    click.echo("tribrain: " + " ".join(message.split()), err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
