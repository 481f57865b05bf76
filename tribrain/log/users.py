"""``tribrain log users``: creates Kafka users, each with only the rights that its commands need."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import orjson
from cloup import option_group

from streams.errors import BadInput
from streams.kafka.login import PROPERTIES, Login, password_in, write_login
from streams.kafka.rights import Right
from streams.kafka.security import Secret
from streams.kafka.settings import Settings
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.group import Group
from tribrain.shell.kafka_access import command_called, open_kafka, rights_of
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.lazy_group import LazyGroup
from tribrain.shell.output import cannot_write

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PASSWORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    commands: tuple[str, ...]

    def rights(self, settings: Settings, models: Sequence[str]) -> list[Right]:
        given = [rights_of(each, settings, model) for model in models for each in self.commands]
        return list(dict.fromkeys(right for rights in given for right in rights))


@click.group(cls=Group)
def users() -> None:
    """Create Kafka users with least rights."""


@users.command(
    cls=Command,
    epilog="Example: tribrain log users create --user 'trainer=serve trainer' "
    "--user 'lab=suite run,log publish' --out logins --bootstrap-servers kafka.example.org:9093",
)
@option_group(
    "Users",
    click.option(
        "--user",
        "given",
        multiple=True,
        required=True,
        metavar="NAME=COMMAND[,COMMAND…]",
        help="User and the commands that it runs, e.g. 'lab=suite run,log publish' (repeatable).",
    ),
    click.option(
        "--model",
        "models",
        multiple=True,
        default=("default",),
        metavar="NAME",
        help="Name of the reward model that they work on (repeatable).",
    ),
)
@option_group(
    "Logins",
    options.out("Folder that gets a folder NAME for each user."),
    click.option(
        "--connect-to",
        metavar="HOST:PORT",
        show_default="as --bootstrap-servers",
        help="Addresses of Kafka brokers for these users.",
    ),
    click.option("--group-may-read", is_flag=True, help="Make login files readable for their group."),
    click.option("--new-passwords", is_flag=True, help="Make new passwords for all users."),
)
@option_group("Kafka and output", bootstrap_servers, options.as_json)
def create(
    given: tuple[str, ...],
    out: Path,
    models: tuple[str, ...],
    connect_to: str | None,
    group_may_read: bool,
    new_passwords: bool,
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """Create users that log in by SCRAM over TLS, each with only the rights that its commands need.

    A user gives OUT/NAME/client.properties as --kafka-config; it has a new password, and ca.pem is beside it.
    The folder can be moved. A user with a folder keeps its password, so that the command can be repeated.
    Earlier rights are kept. This command needs Alter on the cluster.
    """
    program = click.get_current_context().find_root().command
    wanted = _users(given, program.called if isinstance(program, LazyGroup) else tuple)
    settings = open_kafka(bootstrap_servers, "log users create")
    clients = Settings(bootstrap_servers=connect_to or settings.bootstrap_servers)
    kept = _passwords(settings, out, wanted, new_passwords)

    # Not at the top, here and below: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.users import MECHANISM, allow, make_user

    for user in wanted:
        # First, so that whoever can log in has the rights.
        allow(settings, user.name, user.rights(settings, models))
        login = Login(
            bootstrap_servers=clients.bootstrap_servers,
            mechanism=MECHANISM,
            username=user.name,
            password=kept.get(user.name) or Secret(secrets.token_urlsafe(_PASSWORD_BYTES)),
            ca_location=settings.security.ca_location,
        )
        folder = out / user.name
        try:
            # Before Kafka has it, so that a password that Kafka knows is never lost.
            write_login(folder, login, group_may_read=group_may_read)
        except OSError as error:
            raise cannot_write(folder, error) from None
        make_user(settings, user.name, login.password)
    if as_json:
        told = [
            {
                "user": user.name,
                "commands": user.commands,
                "login": str(out / user.name / PROPERTIES),
                "new": user.name not in kept,
            }
            for user in wanted
        ]
        click.echo(orjson.dumps({"users": told}))
        return
    for user in wanted:
        whose = "the password that it had" if user.name in kept else "a new password"
        click.echo(f"{user.name}: {out / user.name / PROPERTIES}, with {whose}")


def _passwords(
    settings: Settings, out: Path, users: Sequence[_User], new_passwords: bool
) -> dict[str, Secret]:
    """Passwords that are kept, by user. Raises BadInput for an existing user without a login file."""
    from streams.kafka.users import users_there

    found = {user.name: password_in(out / user.name, user.name) for user in users}
    if new_passwords:
        return {}
    kept = {name: password for name, password in found.items() if password is not None}
    for name in users_there(settings) & (found.keys() - kept.keys()):
        raise BadInput(
            f"user {name!r} is there already at {settings.bootstrap_servers}, and {out / name} has no login; "
            "give the folder that has it, another name, or --new-passwords"
        )
    return kept


def _users(given: Sequence[str], called: Callable[[Sequence[str]], tuple[str, ...]]) -> list[_User]:
    """The users in the texts of --user; ``called`` gives the current words of a command that was typed."""
    found: dict[str, _User] = {}
    for text in given:
        name, equals, rest = text.partition("=")
        if not (equals and _NAME.fullmatch(name)):
            raise BadInput(
                f"--user {text!r} is no user with its commands; expected e.g. 'trainer=serve trainer', a "
                "name of letters, digits, '.', '_' and '-'"
            )
        if name in found:
            raise BadInput(f"--user {name} is given twice; give all of its commands at once, with commas")
        typed = (called(each.split()) for each in rest.split(","))
        commands = tuple(dict.fromkeys(command_called(" ".join(words)) for words in typed))
        found[name] = _User(name, commands)
    return list(found.values())
