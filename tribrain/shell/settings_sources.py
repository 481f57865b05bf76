"""The sources of a command's options: the command line, then the environment, then a TOML file.

In the environment, the variable of a command's own option takes precedence over one that commands share.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from streams.errors import BadInput
from streams.kafka.security_sources import CONFIG_VARIABLE
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE
from streams.spool.place import FOLDER_VARIABLE
from tribrain.shell.config_file import ConfigFile, Given, keys_of, no_such
from tribrain.shell.lazy_group import LazyGroup
from tribrain.shell.measuring import FILE_VARIABLE, HOST_VARIABLE, PORT_VARIABLE
from tribrain.shell.option_types import PATH
from tribrain.shell.output import write_output

VARIABLE = "TRIBRAIN_CONFIG"
SHARED_VARIABLES: Mapping[str, str] = {
    "bootstrap_servers": BOOTSTRAP_SERVERS_VARIABLE,
    "kafka_config": CONFIG_VARIABLE,
    "metrics_file": FILE_VARIABLE,
    "metrics_host": HOST_VARIABLE,
    "metrics_port": PORT_VARIABLE,
    "spool_dir": FOLDER_VARIABLE,
}
"""An option's name to its variable, shared by all commands that have the option."""
_FOUND = f"{__name__}.found"
"""Key in a command's ``context.meta`` of the values found, by the option's name."""
_OF_ONE_CALL = frozenset({"fresh", "dry_run", "as_json"})
_NO_OPTIONS = frozenset({"TRIBRAIN_UI_TOKEN", "TRIBRAIN_DEMO_ITERS"})
"""Variables that begin like those of a command's options but have another use."""

CONFIG = click.Option(
    ["--config"],
    type=PATH,
    metavar="FILE.toml",
    expose_value=False,
    help=f"Take options from this TOML file, whose tables have the commands' names; also from {VARIABLE}.",
)


def use_sources(ctx: click.Context, options: Sequence[click.Option], config: str | None) -> None:
    """Have Click take options that the command line lacks from the environment and a file.

    ``config`` is the file that ``--config`` names. Raises BadInput for a file that cannot be used, and for a
    variable or key that is no option.
    """
    command = _called(ctx)
    found: dict[str, Given] = {}
    if config := config if config is not None else os.environ.get(VARIABLE):
        root = ctx.find_root().command
        tables = root.tables() if isinstance(root, LazyGroup) else [command[0]]
        file = ConfigFile.read(Path(config), tables)
        found |= file.options_of(
            command, options, lambda: _options_of_group(ctx), lambda words: _next_words(root, words)
        )
    found |= _in_environment(ctx, command, options)
    # All contexts share one meta.
    ctx.meta[_FOUND] = {}
    for name, given in found.items():
        add_source(ctx, name, given)


def add_source(ctx: click.Context, name: str, given: Given) -> None:
    """Add a value for the option of this name, unless a stronger source was added before."""
    found = ctx.meta.setdefault(_FOUND, {})
    if name not in found:
        found[name] = given
        ctx.default_map = {name: given.value, **(ctx.default_map or {})}


def place_of(name: str) -> str:
    """Key in a command's ``context.meta`` of an option that the command's function does not take."""
    return f"{__name__}.{name}"


def value_of(ctx: click.Context, option: click.Option) -> Any:
    """An option's current value."""
    name = option.name or ""
    return ctx.params.get(name) if option.expose_value else ctx.meta.get(place_of(name))


def source_of(ctx: click.Context, option: click.Option) -> tuple[str, str]:
    """Kind (``option``, ``environment``, ``file`` or ``default``) and place of an option's value."""
    name = option.name or ""
    source = ctx.get_parameter_source(name)
    if source is ParameterSource.COMMANDLINE:
        return "option", option.opts[0]
    if source is ParameterSource.DEFAULT_MAP:
        given: Given = ctx.meta[_FOUND][name]
        return given.kind, given.place
    return "default", ""


def strength_of(ctx: click.Context, name: str) -> int:
    """Precedence of the source of this option's value; 0 for its default."""
    option = next(param for param in ctx.command.params if param.name == name)
    assert isinstance(option, click.Option)
    return ("default", "file", "environment", "option").index(source_of(ctx, option)[0])


def keep_config(path: Path, ctx: click.Context) -> None:
    """Write a file with the command's current options, unless there is one.

    Options with their default values are left out. Raises BadInput where it cannot be written.
    """
    if path.exists():
        return
    # Not at the top, here and below: --help and most commands need none.
    import tomlkit

    command = _called(ctx)
    table = tomlkit.table()
    for option in ctx.command.params:
        if not isinstance(option, click.Option) or option.name in _OF_ONE_CALL or not keys_of(option):
            continue
        if source_of(ctx, option)[0] != "default" and (value := value_of(ctx, option)) is not None:
            table[keys_of(option)[0]] = _for_toml(value)
    document = tomlkit.document()
    document.add(tomlkit.comment(f"tribrain {' '.join(command)} --config THIS_FILE"))
    document[command[0]] = table if len(command) == 1 else {command[1]: table}
    write_output(path, tomlkit.dumps(document).encode())


def _for_toml(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_for_toml(each) for each in value]
    if isinstance(value, Mapping):
        import tomlkit

        inline = tomlkit.inline_table()
        inline.update(value)
        return inline
    return value if isinstance(value, bool | int | float | str) else str(value)


def with_its_source(ctx: click.Context, error: click.BadParameter) -> BadInput | None:
    """The error, naming the environment variable or file that the value came from, which Click omits."""
    option = error.param
    if not isinstance(option, click.Option):
        return None
    kind, place = source_of(ctx, option)
    if kind == "file":
        return BadInput(f"{place} {keys_of(option)[0]}: {error.message}")
    return BadInput(f"{place}: {error.message}") if kind == "environment" else None


def _called(ctx: click.Context) -> tuple[str, ...]:
    words: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        words.insert(0, at.info_name or "")
        at = at.parent
    root = ctx.find_root().command
    if not words:
        return (ctx.info_name or "tribrain",)
    return root.called(words) if isinstance(root, LazyGroup) else tuple(words)


def _prefix(command: Sequence[str]) -> str:
    return "_".join(["TRIBRAIN", *command]).upper().replace("-", "_")


def _in_environment(
    ctx: click.Context, command: Sequence[str], options: Sequence[click.Option]
) -> dict[str, Given]:
    """Options whose variable is set; several values of a repeatable one are split as by a shell.

    Raises BadInput for a variable of no option, and for two that are names of one option.
    """
    prefix = _prefix(command)
    root = ctx.find_root().command
    others = [_prefix(name) for name in root.full_names()] if isinstance(root, LazyGroup) else []
    longer = tuple(f"{other}_" for other in others if other.startswith(f"{prefix}_"))
    by_variable = {_prefix([*command, key]): option for option in options for key in keys_of(option)}
    found = {
        name: Given(value, "environment", variable)
        for name, variable in SHARED_VARIABLES.items()
        if any(option.name == name for option in options) and (value := os.environ.get(variable))
    }
    own: dict[str, str] = {}
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith(f"{prefix}_") or variable.startswith(longer) or variable in _NO_OPTIONS:
            continue
        if variable not in by_variable:
            raise BadInput(f"environment: {no_such('variable', variable, by_variable)}")
        option = by_variable[variable]
        if value:
            name = option.name or ""
            if name in own:
                raise BadInput(
                    f"environment: {own[name]} and {variable} are two names of one option; set one of them"
                )
            own[name] = variable
            taken = shlex.split(value) if option.multiple else value
            found[name] = Given(taken, "environment", variable)
    return found


def _next_words(root: click.Command, words: Sequence[str]) -> set[str]:
    names = root.full_names() if isinstance(root, LazyGroup) else []
    return {name[len(words)] for name in names if len(name) > len(words) and name[: len(words)] == [*words]}


def _options_of_group(ctx: click.Context) -> Collection[str]:
    group = ctx.parent.command if ctx.parent is not None else None
    if not isinstance(group, LazyGroup) or ctx.parent is None:
        return ()
    # An old name has the whole program as its parent.
    command = _called(ctx)
    owner = group if ctx.parent.parent is not None else group.get_command(ctx, command[0])
    if not isinstance(owner, LazyGroup):
        return ()
    commands = [owner.get_command(ctx, name) for name in owner.list_commands(ctx)]
    return {
        key
        for each in commands
        if each is not None
        for option in each.params
        if isinstance(option, click.Option)
        for key in keys_of(option)
    }
