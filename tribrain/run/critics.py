"""The critics of a command: their options, the critics made from them, and a note on their limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from textwrap import fill

import click

from runner.critics.chosen import chosen_critics
from runner.critics.entry_point import EntryPointCritic
from runner.critics.pixel import default_critics
from runner.interfaces import AnyCritic, VideoCritic
from tribrain.shell.option_types import Seconds

PIXELS_ALONE = (
    "only the built-in critics scored these videos: they measure pixels and know nothing of the task; "
    "add others with --critic"
)


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(fill(line, 44, subsequent_indent="  ") for line in lines)


CRITIC = click.option(
    "--critic",
    "critics",
    multiple=True,
    metavar="NAME='COMMAND'|NAME",
    help="Add a critic (repeatable): a command with {video}, {prompt} and {goal} that prints a JSON object "
    "of scores in [0, 1], or the name of one from an installed package. Quote a name that contains =.",
)
CRITIC_TIMEOUT_S = click.option(
    "--critic-timeout-s",
    type=Seconds(min=0, min_open=True),
    default="10m",
    help="Time limit of a --critic for one video.",
)
CRITIC_OPTIONS = (
    CRITIC,
    click.option(
        "--no-pixel-critics",
        is_flag=True,
        help="Leave out the built-in critics, which measure pixels and know nothing of the task:\n\n"
        # Click does not rewrap a paragraph behind \b; 44 characters fit beside the option's name.
        "\b\n" + _listed(f"{critic.name}: {critic.sees}" for critic in default_critics()),
    ),
    CRITIC_TIMEOUT_S,
)


def open_critics(
    stack: ExitStack, *, critics: Sequence[str], no_pixel_critics: bool, critic_timeout_s: float
) -> Sequence[AnyCritic]:
    """The critics that the options ask for; ``stack`` ends their processes. Raises BadInput."""
    chosen = chosen_critics(critics, pixel_critics=not no_pixel_critics, timeout_s=critic_timeout_s)
    for critic in chosen:
        if isinstance(critic, EntryPointCritic):
            stack.callback(critic.close)
    return chosen


def say_who_judges(critics: Sequence[AnyCritic]) -> None:
    """Note on standard error where only built-in critics judge; to be called once all input is checked."""
    if not any(isinstance(critic, VideoCritic) for critic in critics):
        click.echo(PIXELS_ALONE, err=True)
