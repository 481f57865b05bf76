"""Turns statements of a file into votes, with ids that are the same however often the file is imported.

A later statement by the same person about the same pair replaces the earlier one. What the votes topic
already has is not repeated, so importing a file twice is harmless.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from streams.errors import BadInput
from streams.files import read_text
from streams.messages.candidates import Place
from streams.messages.votes import Vote
from trainers.datasets.preferences import content_id
from trainers.datasets.samples import Run, find_video
from trainers.datasets.vote_files import Statement, read_csv, read_json_lines, row_key

_SWAPPED = {"left": "right", "right": "left"}
KEY = "import_key"
"""Field in ``meta`` of an imported vote: hash of what identifies the statement."""


def new_votes(statements: Sequence[Statement], known: Iterable[Vote]) -> list[Vote]:
    """The file's votes that are not in ``known``, in the order of the file; ``known`` is in order too.

    The answers to one statement (a person's on a pair, or one annotation) follow each other. If the file
    continues the known answers, the additions are new. If it is an earlier state of them, nothing is new. If
    it differs, its last answer counts.
    """
    ids: set[str] = set()
    answers: dict[str, list[Vote]] = {}
    for vote in known:
        ids.add(vote.vote_id)
        if key := _key_of(vote):
            answers.setdefault(key, []).append(vote)
    new: list[tuple[int, Vote]] = []
    for key, said in _by_key(statements).items():
        if not key:
            for at, vote in said:
                if vote.vote_id not in ids:
                    ids.add(vote.vote_id)
                    new.append((at, vote))
            continue
        before = answers.get(key, [])
        for at, vote in _unsaid(said, before):
            vote_id = _hash(f"{key}\0{len(before)}\0{vote.answer}")
            earlier = before[-1].vote_id if before else ""
            named = replace(vote, vote_id=vote_id, takes_back=earlier, meta=vote.meta | {KEY: key})
            before.append(named)
            new.append((at, named))
    return [vote for _, vote in sorted(new, key=lambda each: each[0])]


def votes_in(file: Path) -> list[Vote]:
    """The votes of a CSV or JSON Lines file, as ``new_votes`` names them. Raises BadInput where one cannot be
    used."""
    read = (read_csv if file.suffix.lower() == ".csv" else read_json_lines)(read_text(file), str(file))
    if read.unusable:
        raise BadInput(f"{read.unusable[0].place}: {read.unusable[0].reason}")
    return new_votes(read.statements, [])


def votes_on_unknown(votes: Iterable[Vote], known: Collection[Place]) -> dict[Place, list[Vote]]:
    """The votes on each candidate that is not ``known``; a vote on two of them is listed under both."""
    found: dict[Place, list[Vote]] = {}
    for vote in votes:
        for place in dict.fromkeys((vote.left, vote.right)):
            if place not in known:
                found.setdefault(place, []).append(vote)
    return found


class VideoPlaces:
    """Finds candidates by the content of their videos, as older exports name them."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = list(runs)
        self._of_video: dict[str, list[Place]] | None = None

    def __call__(self, video: str, run_id: str) -> Sequence[Place]:
        """The candidates with the video of this id; only those of ``run_id``, if it has any."""
        if self._of_video is None:
            self._of_video = {}
            for run in self._runs:
                for event in run.events:
                    if not isinstance(path := find_video(run, event.artifact_path), str):
                        place = run.run_id, event.iter_idx
                        self._of_video.setdefault(content_id(path), []).append(place)
        found = self._of_video.get(video, [])
        return [place for place in found if place[0] == run_id] or found


def _by_key(statements: Sequence[Statement]) -> dict[str, list[tuple[int, Vote]]]:
    """Each statement's place in the file, and its vote. An anonymous statement is a person of its own."""
    by_key: dict[str, list[tuple[int, Vote]]] = {}
    times: Counter[str] = Counter()
    for at, statement in enumerate(statements):
        key, vote = statement.key, statement.vote
        if key and not vote.annotator:
            same = f"{key}\0{vote.answer}"
            times[same] += 1
            key = f"{same}\0{times[same]}"
        by_key.setdefault(_hash(key) if key else "", []).append((at, vote))
    return by_key


def _key_of(vote: Vote) -> str:
    """``KEY`` of an imported vote, empty for any other.

    Keys of earlier versions distinguish rows with swapped sides; they are converted to present ones.
    """
    key = str(vote.meta.get(KEY, ""))
    if vote.annotator and key == _hash(row_key(vote, (vote.left, vote.right))):
        return _hash(row_key(vote, sorted((vote.left, vote.right))))
    return key


def _unsaid(said: Sequence[tuple[int, Vote]], known: Sequence[Vote]) -> list[tuple[int, Vote]]:
    """The answers in a file that are not known; a repeated answer counts once."""
    steps = [each for n, each in enumerate(said) if n == 0 or _stated(said[n - 1][1]) != _stated(each[1])]
    mine, theirs = [_stated(vote) for _, vote in steps], [_stated(vote) for vote in known]
    if mine == theirs[: len(mine)]:
        return []
    if theirs == mine[: len(theirs)]:
        return steps[len(theirs) :]
    return steps[-1:] if mine[-1] != theirs[-1] else []


def _stated(vote: Vote) -> str | None:
    """The answer as it is when the candidates are shown in their order."""
    return _SWAPPED.get(vote.answer or "", vote.answer) if vote.left > vote.right else vote.answer


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
