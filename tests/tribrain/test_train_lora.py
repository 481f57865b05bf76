"""``tribrain train-lora-rm`` and what ``evaluate-rm`` says of its model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest

import trainers.extras
from streams.messages.codec import encode
from streams.messages.contracts import TraceEvent
from streams.messages.files import read_trace
from tests.tribrain.processes import clean_environment
from tribrain.cli import main

if find_spec("peft") is None:
    pytest.skip("the lora extra is not installed", allow_module_level=True)

from tests.trainers.lora.tiny import good_over_bad, tiny_base

FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "reward.json", "training.png"}
SMALL = ("--rank", "2", "--length", "32", "--batch", "8", "--threads", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_base(tmp_path_factory.mktemp("base") / "bert", "bert"))


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    return write(tmp_path / "pairs.jsonl", 128)


def write(path: Path, n: int) -> str:
    path.write_bytes(b"".join(encode(pair) + b"\n" for pair in good_over_bad(n, per_task=1)))
    return str(path)


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(str(ended.value.code))


def train(pairs: str, base: str, out: Path, *more: str) -> int:
    given = ("--pairs", pairs, "--base-model", base, "--out-dir", str(out))
    return code_of("train-lora-rm", *given, *SMALL, *more)


@pytest.fixture(scope="module")
def trained(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert train(write(folder / "pairs.jsonl", 128), base, folder / "lora_rm") == 0
    return folder / "lora_rm"


def test_the_folder_is_complete_and_the_checkpoint_gone(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == FILES
    assert {path.name for path in trained.parent.iterdir()} == {"lora_rm", "pairs.jsonl"}
    assert (trained / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_takes_the_adapter_as_one_more_critic_and_lets_it_pick_rewrites(
    trained: Path, tmp_path: Path
) -> None:
    given = ("--iters", "2", "--seed", "1", "--text-rm", str(trained), "--rewrites", "8")
    assert code_of("run-simulated", "--goal", "move the red cube", "--out", str(tmp_path / "r"), *given) == 0
    events = [e for e in read_trace(tmp_path / "r" / "trace.jsonl") if isinstance(e, TraceEvent)]
    assert all(0.0 < (e.critic_scores()["lora_rm.text"] or 0.0) < 1.0 for e in events)
    assert events[0].meta["rewrites"][events[0].meta["rewrite_picked"]]["prompt"] == events[1].prompt
    assert "sampled" in events[0].meta["rewrites"][0]


def test_it_says_what_is_used_and_compares_with_the_baselines(
    pairs: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(pairs, base, tmp_path / "out") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "pairs to learn from: 102; kept apart: 26, other tasks: 26" in said
    assert "label sources human, as they are trusted" in said
    assert "pairs with two equal texts: 0, ties: 0" in said
    assert "pairs cut at the beginning of the goal to fit 32 tokens" in said
    for name in ("LoRA", "character TF-IDF", "online n-grams", "text length", "chance"):
        assert f"│ {name} │" in said
    # N-grams see "good" and "bad" at once; a random base model does not.
    assert "LoRA is shown to be worse than character TF-IDF in" in said
    assert "pairs per CPU second" in said


def test_the_model_card_claims_no_more(trained: Path) -> None:
    card = (trained / "README.md").read_text()
    assert "LoRA is shown to be worse than character TF-IDF in" in card
    assert "shown to be better than character TF-IDF" not in card


def test_json_is_one_object_with_the_figures(
    pairs: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(pairs, base, tmp_path / "out", "--json", "--model", "texts") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert said["model"] == "texts"
    assert said["pairs"]["train"] == 102
    assert set(said["metrics"]["models"]) == {
        "LoRA",
        "character TF-IDF",
        "online n-grams",
        "text length",
        "chance",
    }
    assert set(said["metrics"]["lora_minus"]) == {
        "character TF-IDF",
        "online n-grams",
        "text length",
        "chance",
    }
    written = orjson.loads((tmp_path / "out" / "reward.json").read_bytes())
    assert said == {"out": str(tmp_path / "out"), **written}


def test_several_files_are_learnt_together(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = write(tmp_path / "one.jsonl", 32), write(tmp_path / "two.jsonl", 16)
    assert train(one, base, tmp_path / "out", "--pairs", two, "--json") == 0
    pairs = orjson.loads(capsys.readouterr().out)["pairs"]
    assert pairs["train"] + pairs["held_out"] == 48


def test_a_goal_and_two_texts_a_line_are_enough(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {
            "goal_instruction": f"{pair.task_id} move",
            "chosen_prompt": pair.chosen_prompt,
            "rejected_prompt": "bad",
        }
        for pair in good_over_bad(32)
    ]
    file = tmp_path / "bare.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert train(str(file), base, tmp_path / "out") == 0
    assert "label sources critic: none is trusted, so all are used" in capsys.readouterr().out


def test_evaluate_rm_says_of_it_what_it_says_of_other_models(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holdout = write(tmp_path / "holdout.jsonl", 20)
    assert code_of("evaluate-rm", "--model", str(trained), "--holdout", holdout, "--json") == 0
    lora = orjson.loads(capsys.readouterr().out)
    assert (lora["n_train"], lora["n_test"], lora["n_shared_tasks"]) == (102, 20, None)

    from tests import factories
    from trainers.online.train import train_on_pairs

    critics = [factories.pair({"goal.task": 0.9}, {"goal.task": 0.1})]
    (tmp_path / "bt.json").write_bytes(encode(train_on_pairs(critics)))
    (tmp_path / "bt.jsonl").write_bytes(encode(critics[0]) + b"\n")
    given = ("--model", str(tmp_path / "bt.json"), "--holdout", str(tmp_path / "bt.jsonl"))
    assert code_of("evaluate-rm", *given, "--json") == 0
    bt = orjson.loads(capsys.readouterr().out)
    assert lora.keys() == bt.keys()
    assert lora["learners"]["default"].keys() == bt["learners"]["default"].keys()


def test_evaluate_rm_gives_the_figures_of_training_on_the_same_pairs(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainers.lora.texts import select, split_by_task

    pairs = good_over_bad(128, per_task=1)
    tasks = {one.task for one in split_by_task(select(pairs).pairs, 0.2, seed=0)[1]}
    holdout = tmp_path / "holdout.jsonl"
    holdout.write_bytes(b"".join(encode(one) + b"\n" for one in pairs if one.task_id in tasks))
    assert code_of("evaluate-rm", "--model", str(trained), "--holdout", str(holdout), "--json") == 0
    of = orjson.loads(capsys.readouterr().out)["learners"]["default"]
    said = orjson.loads((trained / "reward.json").read_bytes())["metrics"]["models"]["LoRA"]
    assert {name: of[name] for name in said} == said


def test_a_base_model_that_was_moved_can_be_named(
    base: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(shutil.copytree(base, tmp_path / "moved"))
    model = Path(shutil.copytree(trained, tmp_path / "lora_rm"))
    reward = (model / "reward.json").read_bytes().replace(base.encode(), b"/nowhere")
    (model / "reward.json").write_bytes(reward)
    given = (
        "evaluate-rm",
        "--model",
        str(model),
        "--holdout",
        write(tmp_path / "holdout.jsonl", 4),
        "--json",
    )
    assert code_of(*given) == 2
    assert "'/nowhere' is not a folder, and cannot be fetched" in capsys.readouterr().err
    assert code_of(*given, "--base-model", str(moved)) == 0


def test_a_folder_that_is_there_is_left_alone(
    trained: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "reward.json").read_bytes()
    assert train(str(trained.parent / "pairs.jsonl"), base, trained) == 2
    assert "already exists; choose another --out\n" in capsys.readouterr().err
    assert (trained / "reward.json").read_bytes() == before


def test_resume_of_what_is_finished_only_says_so(
    trained: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "reward.json").read_bytes()
    assert train(str(trained.parent / "pairs.jsonl"), base, trained, "--resume", "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["adapter"] == orjson.loads(before)["adapter"]
    assert (trained / "reward.json").read_bytes() == before


def test_a_training_that_was_ended_needs_resume(
    pairs: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (tmp_path / "out.checkpoint").mkdir()
    assert train(pairs, base, out) == 2
    assert "out.checkpoint: holds an unfinished training; continue with --resume" in capsys.readouterr().err
    assert train(pairs, base, out, "--resume") == 0
    assert {path.name for path in out.iterdir()} == FILES


def test_a_disk_that_refuses_is_bad_input(
    pairs: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(pairs, base, Path(pairs) / "out") == 2
    assert (
        "out.checkpoint: cannot be written: Not a directory; choose another --out" in capsys.readouterr().err
    )


def test_tensorboard_gets_the_loss_and_the_held_out_accuracy(pairs: str, base: str, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train(pairs, base, tmp_path / "out", "--report-to", "tensorboard") == 0
    logs = EventAccumulator(str(tmp_path / "out.logs" / "tribrain-lora"))
    logs.Reload()
    assert [event.step for event in logs.Scalars("loss")] == list(range(1, 14))
    assert len(logs.Scalars("held_out_accuracy")) >= 2


def test_a_tracker_that_is_not_installed_is_named(
    pairs: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tribrain.rewards.lora.find_spec", lambda name: None)
    assert train(pairs, base, tmp_path / "out", "--report-to", "wandb") == 2
    assert "--report-to wandb: the package is not there; pip install wandb\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train-lora-rm", "evaluate-rm"])
def test_without_the_extra_one_line_says_what_to_install(
    command: str,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trainers.extras, "find_spec", lambda name: None if name == "torch" else name)
    pairs = str(trained.parent / "pairs.jsonl")
    given = {
        "train-lora-rm": ("--pairs", pairs, "--base-model", "b", "--out-dir", "o"),
        "evaluate-rm": ("--model", str(trained), "--holdout", pairs),
    }[command]
    assert code_of(command, *given) == 2
    said = capsys.readouterr().err
    assert said == (
        'tribrain: a text reward model needs torch; install the extra with pip install -e ".[lora]"\n'
    )


@pytest.mark.long
def test_two_processes_learn_each_pair_once_and_give_one_adapter(
    pairs: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "two"
    words = ["train-lora-rm", "--pairs", pairs, "--base-model", base, "--out-dir", str(out), *SMALL, "--json"]
    # --cpu would start one process only; port 0 is a free one.
    several = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    plain = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    launch = ["-m", "accelerate.commands.launch", *several, *plain, "-m", "tribrain.cli"]
    done = subprocess.run(
        [sys.executable, *launch, *words],
        env=clean_environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = orjson.loads(done.stdout)
    assert two["training"]["processes"] == 2
    assert train(pairs, base, tmp_path / "one", "--json") == 0
    one = orjson.loads(capsys.readouterr().out)
    # The same pairs in the same order, but the sums of the gradients are rounded in another order.
    losses = [[loss for _, loss in of["history"]["loss"]] for of in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert {path.name for path in out.iterdir()} == FILES
