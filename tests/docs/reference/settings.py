"""The page on settings: variables of the environment, properties of Kafka, and limits."""

from __future__ import annotations

from streams.kafka.security import NAMES, SECRETS
from streams.kafka.security_sources import CONFIG_VARIABLE, variable_of
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE, TOPIC_PREFIX_VARIABLE
from streams.messages import limits
from streams.spool.place import FOLDER_VARIABLE
from tests.docs.reference.attributes import said_of_constants
from tests.docs.reference.markdown import code, from_rest, table
from tribrain.shell.measuring import FILE_VARIABLE, HOST_VARIABLE, PORT_VARIABLE
from tribrain.shell.settings_sources import VARIABLE
from tribrain.ui.command import TOKEN_VARIABLE

VARIABLES = {
    BOOTSTRAP_SERVERS_VARIABLE: "The Kafka broker, as HOST:PORT, or several with commas; the same as "
    "`--bootstrap-servers`.",
    VARIABLE: "A file of options; the same as `--config`.",
    TOPIC_PREFIX_VARIABLE: "Begins the names of the topics; by default `tribrain`.",
    CONFIG_VARIABLE: "A file of properties that says how to log in to Kafka; the same as `--kafka-config`.",
    FOLDER_VARIABLE: "Where events wait for Kafka, on a local disk; the same as `--spool-dir`.",
    PORT_VARIABLE: "Serve `/metrics` and `/health` on this port; the same as `--metrics-port`.",
    HOST_VARIABLE: "Address that this port listens on, by default loopback; the same as `--metrics-host`.",
    FILE_VARIABLE: "Write a run's metrics into this file, too; the same as `--metrics-file`.",
    TOKEN_VARIABLE: "The token that opens the page where it listens beyond this computer.",
}
"""Of the environment, with what each is for."""

_PAGE = """# Settings

This page is made from the code by `python -m tests.docs.reference`.

A setting is an option of the command. Each is also taken from a variable and from a file:
[Configure a command](../how-to/configure.md). The variables below are common to several commands.
[The stack in containers](../how-to/stack.md#settings) has variables of its own.

## Variables of the environment
"""
_KAFKA = f"""## Properties of Kafka

They stand in the file that `--kafka-config` or `{CONFIG_VARIABLE}` names, by librdkafka's names, or in the
environment, which wins over the file. [A secured Kafka](../how-to/secured-kafka.md) says which values they
take. For a secret, the variable that ends in `_FILE` names a file that holds it.
"""
_LIMITS = """## Limits

The limits of a message and of what it holds. A message beyond one is refused when it is written, and
becomes a dead letter when it is read.
"""


def settings_page() -> str:
    variables = table(["variable", "what it sets"], [[code(name), said] for name, said in VARIABLES.items()])
    properties = table(
        ["property", "variable"],
        [[code("bootstrap.servers"), code(BOOTSTRAP_SERVERS_VARIABLE)]]
        + [[code(name), _variables(name, field in SECRETS)] for field, name in NAMES.items()],
    )
    said = said_of_constants(limits)
    rows = [[code(name), f"{getattr(limits, name):,}", from_rest(text)] for name, text in said.items()]
    return "\n".join(
        [_PAGE, variables, "", _KAFKA, properties, "", _LIMITS, table(["limit", "", ""], rows), ""]
    )


def _variables(name: str, is_secret: bool) -> str:
    variable = variable_of(name)
    return f"{code(variable)}, {code(variable + '_FILE')}" if is_secret else code(variable)
