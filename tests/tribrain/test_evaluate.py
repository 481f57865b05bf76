"""``tribrain evaluate-rm``: what it prints, and what it refuses."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import LabelSource
from tests.trainers.bradley_terry.test_ties import messages as with_ties
from tests.trainers.evidence.test_evaluate import tasks
from tribrain.cli import main


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    paths = tmp_path / "train.jsonl", tmp_path / "holdout.jsonl"
    for path, pairs in zip(paths, (tasks(60, seed=1), tasks(30, seed=2, prefix="h")), strict=True):
        path.write_bytes(b"".join(encode(pair) + b"\n" for pair in pairs))
    return str(paths[0]), str(paths[1])


def code_of(*arguments: str) -> int:
    return call("evaluate-rm", *arguments)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


def test_json_has_the_promised_keys_for_every_learner(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    train, holdout = files
    assert code_of("--pairs", train, "--holdout", holdout, "--orders", "2", "--json") == 0
    result = orjson.loads(capsys.readouterr().out)
    assert (result["n_train"], result["n_test"], result["n_shared_tasks"]) == (240, 120, 0)
    assert set(result["learners"]) == {"laplace", "river-logistic", "batch", "critics-mean", "best-single"}
    promised = {
        "accuracy",
        "log_loss",
        "ece",
        "log_loss_ci95",
        "log_loss_sd_over_orders",
        "log_loss_after_100",
    }
    assert all(promised <= set(of) for of in result["learners"].values())


def test_three_answers_are_measured_where_there_are_ties(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "train.jsonl", tmp_path / "holdout.jsonl"
    for seed, path in enumerate(pairs):
        path.write_bytes(b"".join(encode(pair) + b"\n" for pair in with_ties(90, seed=seed)))
    given = ("--pairs", str(pairs[0]), "--holdout", str(pairs[1]), "--learner", "laplace", "--orders", "1")
    assert code_of(*given, "--json") == 0
    result = orjson.loads(capsys.readouterr().out)
    assert 10 < result["n_ties"] < 60
    assert 0.0 < result["learners"]["laplace"]["log_loss_with_ties"] < 1.1
    assert code_of(*given) == 0
    assert f"(ties: {result['n_ties']})" in capsys.readouterr().out


def test_a_dimension_is_measured_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = tmp_path / "train.jsonl", tmp_path / "holdout.jsonl"
    for seed, path in enumerate(paths):
        pairs = [
            *tasks(40, seed=seed),
            *(replace(one, dimension="physics") for one in tasks(30, seed=seed + 5)),
        ]
        path.write_bytes(b"".join(encode(one) + b"\n" for one in pairs))
    train, holdout, model = str(paths[0]), str(paths[1]), str(tmp_path / "bt_reward.json")
    assert call("train-preference-rm", "--pairs", train, "--out", model) == 0
    given = ("--holdout", holdout, "--json")
    for source in (("--pairs", train, "--learner", "laplace", "--orders", "1"), ("--model", model)):
        for dimension, n in ((), 160), (("--dimension", "physics"), 120):
            capsys.readouterr()
            assert code_of(*source, *given, *dimension) == 0
            shown = capsys.readouterr()
            assert orjson.loads(shown.out)["n_test"] == n
            assert ("pairs on physics (120) are left out" in shown.err) == (not dimension)
    assert code_of("--model", model, "--holdout", holdout, "--dimension", "beauty") == 2
    assert (
        "none of its pairs is on 'beauty'; give --dimension: overall (160), physics (120)"
        in capsys.readouterr().err
    )


def test_only_the_named_learners_are_measured_and_a_plot_is_drawn(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, holdout = files
    plot = tmp_path / "plot.png"
    given = ("--learner", "batch", "--learner", "laplace", "--plot", str(plot), "--orders", "1", "--json")
    assert code_of("--pairs", train, "--holdout", holdout, *given) == 0
    assert list(orjson.loads(capsys.readouterr().out)["learners"]) == ["batch", "laplace"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_task_in_both_files_is_said_to_flatter(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    train, _ = files
    assert code_of("--pairs", train, "--holdout", train, "--learner", "critics-mean") == 0
    assert "tasks in both files: 60, so the figures flatter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label_sources", "n", "caption", "warns"),
    [
        (["human"], 0, "measured on 120 pairs, after 240 learnt", False),
        (["human", "critic"], 60, "(labels by the critics: 60)", True),
        (["critic"], 120, "(labels by the critics: 120)", True),
    ],
)
def test_held_out_labels_that_are_the_critics_own_are_counted_and_warned_of(
    label_sources: list[LabelSource],
    n: int,
    caption: str,
    warns: bool,
    files: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    train, holdout = files
    sources = cycle(label_sources)
    pairs = [replace(pair, label_source=next(sources)) for pair in tasks(30, seed=2, prefix="h")]
    Path(holdout).write_bytes(b"".join(encode(pair) + b"\n" for pair in pairs))
    given = ("--pairs", train, "--holdout", holdout, "--learner", "critics-mean")
    assert code_of(*given) == 0
    shown = capsys.readouterr()
    assert caption in " ".join(shown.out.split())
    warning = f"the critics' own scores: {n} of 120; on these, the figures say how well a model imitates"
    assert (warning in shown.err) == warns
    assert code_of(*given, "--json") == 0
    shown = capsys.readouterr()
    assert orjson.loads(shown.out)["n_critic_labels"] == n
    assert (warning in shown.err) == warns


def test_a_finished_model_is_measured_under_its_name(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, holdout = files
    model = str(tmp_path / "m.json")
    with pytest.raises(SystemExit):
        main(["train-preference-rm", "--pairs", train, "--out", model])
    capsys.readouterr()
    assert code_of("--model", model, "--holdout", holdout, "--json") == 0
    result = orjson.loads(capsys.readouterr().out)
    assert list(result["learners"]) == ["default"]
    assert result["n_train"] == 240


def test_pairs_of_one_task_have_no_interval(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_task = tmp_path / "one.jsonl"
    one_task.write_bytes(Path(files[1]).read_bytes().splitlines(keepends=True)[0])
    code_of("--pairs", files[0], "--holdout", str(one_task), "--learner", "critics-mean", "--json")
    figures = orjson.loads(capsys.readouterr().out)["learners"]["critics-mean"]
    assert figures["accuracy_ci95"] is figures["log_loss_ci95"] is figures["ece_ci95"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give either --pairs to learn from or --reward to measure"),
        (("--pairs", "a", "--model", "b"), "give either --pairs to learn from or --reward to measure"),
        (("--model", "b", "--learner", "batch"), "--learner is for --pairs; with --reward nothing is learnt"),
        (("--pairs", "nowhere"), "nowhere: no such file"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_code_2(
    arguments: tuple[str, ...], says: str, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*arguments, "--holdout", files[1]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
