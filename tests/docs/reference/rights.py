"""The tables of least rights, in the page on a secured Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from tests.docs.reference.markdown import code, table
from tribrain.shell.kafka_access import SERVICES, TOPICS

_BEGIN = "<!-- rights: made by python -m tests.docs.reference -->"
_END = "<!-- end of rights -->"


def put_rights_into(page: str) -> str:
    """The page with both tables. Raises ValueError where it has no place for them."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"the page has no place for the tables of rights; expected {_BEGIN} and {_END}")
    return f"{before}{begin}\n{_rights()}\n{end}{after}"


def _rights() -> str:
    first, second = [], []
    for names, needed in SERVICES.items():
        commands = ", ".join(code(command) for command in names.split(", "))
        if needed.read or needed.write:
            own = f"{needed.publishes}:MODEL" if needed.publishes else needed.transactional_id
            transactional_id = code(f"PREFIX.{own}") if own else ""
            first.append(
                [
                    commands,
                    _in_words(needed.read),
                    _in_words(needed.write),
                    needed.group or "",
                    transactional_id,
                ]
            )
        if needed.manage or needed.cluster:
            more = [f"{operation} on {_in_words(topics)}" for operation, topics in needed.manage.items()]
            second.append([commands, "; ".join(more), needed.cluster or ""])
    head = ["command", "Read on topics", "Write on topics", "on the group", "Write on the transactional id"]
    return f"{table(head, first)}\n\n{table(['command', 'more on topics', 'on the cluster'], second)}"


def _in_words(topics: Sequence[str]) -> str:
    return ", ".join(topics).replace(", ".join(TOPICS), "all")
