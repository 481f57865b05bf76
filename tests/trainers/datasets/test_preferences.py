"""Pairs for others, as far as no command is needed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.votes import Vote
from tests import factories
from tests.recorded_runs import GOAL, write_run
from trainers.datasets.labelling import labelling_tasks
from trainers.datasets.preferences import (
    CONTRADICTED,
    EQUAL_TEXTS,
    EQUAL_VIDEOS,
    TIES,
    FoundPair,
    VideoPair,
    decided,
    labelled,
    pairs_of_files,
    pairs_of_runs,
    trl_rows,
    undisputed_videos,
    video_pairs,
)
from trainers.datasets.samples import Run, read_runs
from trainers.pairs.pairing import PairingRules
from trainers.pairs.votes import pair_of_vote

FRAME = np.zeros((4, 4, 3), dtype=np.uint8)


def test_a_pair_that_is_in_two_files_counts_once(tmp_path: Path) -> None:
    events = write_run(tmp_path / "a", [0.2, 0.9])
    found = pairs_of_runs(read_runs([tmp_path]), PairingRules())
    line = encode(found[0].pair) + b"\n"
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(line)
    assert len(events) == 2
    assert [f.id for f in pairs_of_files([tmp_path / "one", tmp_path / "two"])] == [found[0].id]


def test_ties_prefer_nothing_and_are_left_out() -> None:
    run, left_out = Run(folder=Path(), run_id="r", events=()), Counter[str]()
    pairs = [
        FoundPair(pair=replace(factories.pair({}, {}, pair_id=str(tie)), tie=tie), run=run)
        for tie in (False, True)
    ]
    assert decided(labelled(pairs, (), left_out), left_out) == pairs[:1]
    assert left_out[TIES] == 1


@pytest.mark.parametrize(
    ("labels", "standing"),
    [
        (["critic +", "outcome -"], ["outcome -"]),
        (["critic +", "outcome +"], ["critic +", "outcome +"]),
        (["critic +", "critic +", "proxy -"], ["proxy -"]),
        (["outcome +", "human -"], ["human -"]),
        (["human +", "human +", "human -"], ["human +", "human +"]),
        (["human +", "human +", "human -", "critic -"], ["human +", "human +"]),
        (["human +", "human +", "human -", "critic +"], ["human +", "human +", "critic +"]),
        (["human +", "human -"], []),
        (["human +", "human -", "critic +"], []),
        (["critic -"], ["critic -"]),
        (["human =", "critic +"], []),
        (["human =", "human +", "human +"], ["human +", "human +"]),
        (["human =", "human +", "critic +"], []),
        (["human =", "human =", "human +"], []),
        (["critic =", "human +"], ["human +"]),
        (["human =", "human ="], []),
    ],
)
def test_where_labels_of_the_same_two_disagree_the_most_trusted_count(
    labels: list[str], standing: list[str]
) -> None:
    """By texts for TRL, by videos for DPO; a sign says which of the two is preferred."""
    run = Run(folder=Path(), run_id="r", events=())
    texts, videos = [], []
    for number, label in enumerate(labels):
        source, sign = label.split()
        chosen, rejected = ("a", "b") if sign == "+" else ("b", "a")
        pair = replace(
            factories.pair({}, {}, pair_id=str(number), label_source=source),  # type: ignore[arg-type]
            tie=sign == "=",
            goal_instruction="goal",
            chosen_prompt=chosen,
            rejected_prompt=rejected,
        )
        texts.append(FoundPair(pair=pair, run=run))
        names = {"chosen_id": chosen, "rejected_id": rejected, "chosen": Path(), "rejected": Path()}
        videos.append(VideoPair(found=texts[-1], first_frame=FRAME, **names))  # type: ignore[arg-type]
    left_out = Counter[str]()
    rows = trl_rows(texts, left_out)
    assert [f"{row['label_source']} {'+' if row['chosen'] == 'a' else '-'}" for row in rows] == standing
    assert left_out[CONTRADICTED] + left_out[TIES] == len(labels) - len(standing)
    assert left_out[TIES] == sum(label.endswith("=") for label in labels)
    assert [pair.found.id for pair in undisputed_videos(videos, left_out)] == [row["pair_id"] for row in rows]
    other = [replace(found.pair, goal_instruction="another goal") for found in texts]
    together = [*texts, *(FoundPair(pair=pair, run=run) for pair in other[:1])]
    apart = 0 if labels[0].endswith("=") else 1  # one label of another goal
    assert len(trl_rows(together, left_out)) == len(standing) + apart


@pytest.mark.parametrize(
    ("goal", "chosen", "rejected"),
    [("g", "b", "a"), ("G ", "b", "a"), ("g", "b ", "a"), ("g", "B", " a\n"), (" g", "b\t", "A")],
)
def test_two_are_the_same_two_whatever_the_case_and_the_spaces(goal: str, chosen: str, rejected: str) -> None:
    run, left_out = Run(folder=Path(), run_id="r", events=()), Counter[str]()
    one = replace(factories.pair({}, {}), goal_instruction="g", chosen_prompt="a", rejected_prompt="b")
    other = replace(one, goal_instruction=goal, chosen_prompt=chosen, rejected_prompt=rejected)
    assert trl_rows([FoundPair(pair=pair, run=run) for pair in (one, other)], left_out) == []
    assert left_out == {CONTRADICTED: 2}


def test_prompts_that_differ_by_spaces_alone_are_equal() -> None:
    run, left_out = Run(folder=Path(), run_id="r", events=()), Counter[str]()
    pair = replace(factories.pair({}, {}), goal_instruction="g", chosen_prompt="a", rejected_prompt="a ")
    assert trl_rows([FoundPair(pair=pair, run=run)], left_out) == []
    assert left_out == {EQUAL_TEXTS: 1}


def test_a_label_with_more_weight_counts_more() -> None:
    run = Run(folder=Path(), run_id="r", events=())
    a = replace(
        factories.pair({}, {}, weight=0.4), goal_instruction="g", chosen_prompt="a", rejected_prompt="b"
    )
    b = replace(a, chosen_prompt="b", rejected_prompt="a", weight=0.5)
    rows = trl_rows([FoundPair(pair=pair, run=run) for pair in (a, b)], Counter())
    assert [row["chosen"] for row in rows] == ["b"]


def test_a_bare_pair_has_an_id_of_its_content(tmp_path: Path) -> None:
    line = b'{"goal_instruction": "g", "chosen_prompt": "a", "rejected_prompt": "b"}\n'
    (tmp_path / "p").write_bytes(line + line + line.replace(b'"a"', b'"c"'))
    assert len({f.id for f in pairs_of_files([tmp_path / "p"])}) == 2


def test_two_videos_of_the_same_bytes_are_no_pair(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.2, 0.9], pictures={0: 1, 1: 1})
    left_out: Counter[str] = Counter()
    found = pairs_of_runs(read_runs([tmp_path]), PairingRules())
    assert video_pairs(found, lambda video: FRAME, left_out, same_first_frame=True) == []
    assert left_out == {EQUAL_VIDEOS: 1}


def test_which_video_is_a_says_nothing_of_which_is_better() -> None:
    run = Run(folder=Path(), run_id="r", events=())
    a_is_chosen = 0
    for i in range(200):
        found = FoundPair(pair=factories.pair({}, {}, pair_id=str(i)), run=run)
        names = {"chosen_id": f"good {i}", "rejected_id": f"bad {i}"}
        pair = VideoPair(
            found=found, chosen=Path(), rejected=Path(), first_frame=FRAME,
            chosen_id=names["chosen_id"], rejected_id=names["rejected_id"],
        )  # fmt: skip
        (task,) = labelling_tasks([pair], "")
        data = task["data"]
        assert isinstance(data, dict)
        assert {data["a"], data["b"]} == set(names.values())
        a_is_chosen += data["a"] == names["chosen_id"]
    assert 70 < a_is_chosen < 130


def test_two_labels_of_one_pair_of_videos_are_one_task(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [0.2, 0.9], outcomes={0: 0.9, 1: 0.1}, goal=GOAL)
    found = pairs_of_runs(read_runs([tmp_path]), PairingRules())
    assert {f.pair.label_source for f in found} == {"critic", "outcome"}
    usable = video_pairs(found, lambda video: FRAME, Counter(), same_first_frame=True)
    assert len(usable) == 2
    assert len(labelling_tasks(usable, "")) == 1


def test_a_vote_on_two_runs_is_exported_with_a_video_of_each(tmp_path: Path) -> None:
    runs = []
    for name in ("run-a", "run-b"):
        (tmp_path / name / "iter_00").mkdir(parents=True)
        (tmp_path / name / "iter_00" / "video.mp4").write_bytes(name.encode())
        runs.append(Run(folder=tmp_path / name, run_id=name, events=(factories.event(0, 0.5, run_id=name),)))
    left, right = (run.events[0] for run in runs)
    vote = Vote(
        vote_id="v", left_run_id="run-a", left_iter_idx=0, right_run_id="run-b", right_iter_idx=0,
        answer="right",
    )  # fmt: skip
    pair = pair_of_vote(vote, left, right, PairingRules())
    (tmp_path / "pairs.jsonl").write_bytes(encode(pair) + b"\n")
    left_out: Counter[str] = Counter()
    (found,) = video_pairs(
        pairs_of_files([tmp_path / "pairs.jsonl"], runs), lambda _: FRAME, left_out, same_first_frame=False
    )
    assert (found.chosen.read_bytes(), found.rejected.read_bytes()) == (b"run-b", b"run-a")
    assert (found.chosen_place, found.rejected_place) == (("run-b", 0), ("run-a", 0))


def test_a_pair_that_is_taken_back_in_a_file_is_not_exported(tmp_path: Path) -> None:
    pair = factories.pair({}, {}, pair_id="one")
    lines = [
        encode(pair),
        encode(factories.pair({}, {}, pair_id="two")),
        encode(replace(pair, withdrawn=True)),
    ]
    (tmp_path / "pairs.jsonl").write_bytes(b"\n".join(lines))
    assert [found.id for found in pairs_of_files([tmp_path / "pairs.jsonl"])] == ["two"]
