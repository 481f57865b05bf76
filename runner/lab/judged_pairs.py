"""Pairs that people have judged, from a file in either of two formats.

A line is a pair as in ``pairs.jsonl``, with the critics of both sides. Or it names two candidates of a task,
``{"task_id": …, "chosen": …, "rejected": …, "tie": false}``, whose critics are in a file of candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from streams.errors import BadInput
from streams.files import read_text
from streams.messages.codec import ContractError, decode_pair
from streams.messages.contracts import Candidate, PreferencePair
from streams.messages.refusals import check_names

MADE_BY = "candidate"
"""The context that names a side's candidate."""


class _Named(msgspec.Struct):
    task_id: str
    chosen: str
    rejected: str
    tie: bool = False


def read_judged_pairs(path: Path, candidates: Sequence[Candidate] = ()) -> list[PreferencePair]:
    """The pairs in the file's order. Where lines name candidates, the names become contexts of the sides.

    Raises BadInput for a line in neither format, for an unknown candidate, and if there is no pair.
    """
    by_name = {(candidate.task_id, candidate.candidate_id): candidate for candidate in candidates}
    pairs = []
    for number, line in enumerate(read_text(path).split(b"\n"), start=1):
        if line.strip():
            pair = _read(line, f"{path}@line {number}", by_name)
            if pair is not None:
                pairs.append(pair)
    if not pairs:
        raise BadInput(f"{path}: the file has no pair; expected one per line")
    return pairs


def known_alone(pairs: Iterable[PreferencePair], *, who_made_each_side: bool) -> list[PreferencePair]:
    """The pairs reduced to the critics, or with the contexts that distinguish the sides as well."""
    if who_made_each_side:
        return [replace(pair, context={}) for pair in pairs]
    return [replace(pair, context={}, chosen_context={}, rejected_context={}) for pair in pairs]


def _read(line: bytes, source: str, candidates: dict[tuple[str, str], Candidate]) -> PreferencePair | None:
    check_names(line, source)
    try:
        named = msgspec.json.decode(line, type=_Named)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            message = decode_pair(line, source)
        except ContractError as error:
            raise BadInput(
                f"{error}; a pair has task_id, label_source and the critics of both sides, or names its "
                "candidates as chosen and rejected"
            ) from None
        return message if isinstance(message, PreferencePair) else None
    sides = []
    for name in (named.chosen, named.rejected):
        if (named.task_id, name) not in candidates:
            raise BadInput(
                f"{source}: no candidate {name!r} of task {named.task_id!r} is known; give the file that has "
                "it as --candidates-file"
            )
        sides.append(candidates[named.task_id, name])
    chosen, rejected = sides
    return PreferencePair(
        task_id=named.task_id,
        label_source="human",
        tie=named.tie,
        chosen_critics=chosen.critic_scores,
        rejected_critics=rejected.critic_scores,
        context=chosen.context,
        chosen_context=chosen.candidate_context or {MADE_BY: chosen.candidate_id},
        rejected_context=rejected.candidate_context or {MADE_BY: rejected.candidate_id},
    )
