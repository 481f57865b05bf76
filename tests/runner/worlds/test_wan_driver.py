"""The process that holds WoW's Wan model: its pipes, its weights, and how it ends."""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from runner.interfaces import Generation
from runner.video import write_video
from runner.worlds.wow.wan import DRIVER
from runner.worlds.wow.wan_driver import persistent_gb
from tests.runner.worlds.test_wow_world import asked, is_good, made, opened, reason, running_in
from tests.runner.wow_doubles.checkout import TRAINED, TRAINED_SMALL, FakeWow, fake_checkout
from tests.tribrain.processes import needs_proc
from tests.waiting import wait_until


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


def write_weights(wow: FakeWow, state: object) -> None:
    wow.trained.write_text(json.dumps(state))


def test_it_needs_no_more_than_python_3_10_and_imports_the_standard_library_alone() -> None:
    tree = ast.parse(DRIVER.read_text(), feature_version=(3, 10))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names


def test_one_driver_serves_every_request_of_a_gpu(wow: FakeWow) -> None:
    assert all(map(is_good, made(wow, "wan-14b", "a", "b", "c", seeds=[1, 2, 3])))
    assert len(wow.calls("wan-14b")) == 1
    assert {call["pid"] for call in wow.calls("wan video")} == {wow.calls("wan-14b")[0]["pid"]}


def test_it_asks_the_pipeline_as_wows_demo_does(wow: FakeWow) -> None:
    made(wow, "wan-14b", "a", seeds=[5])
    (call,) = wow.calls("wan video")
    assert (call["prompt"], call["seed"], call["corner"]) == ("a", 5, [10, 20, 30])
    assert (call["steps"], call["size"], call["num_frames"], call["tiled"]) == (30, [832, 480], 81, True)


def test_frames_steps_and_tiling_are_chosen(wow: FakeWow) -> None:
    made(wow, "wan-14b", "a", frames=41, steps=4, tiled=False)
    (call,) = wow.calls("wan video")
    assert (call["steps"], call["num_frames"], call["tiled"]) == (4, 41, False)


@pytest.mark.parametrize(
    ("card", "gb"),
    [
        (150_754_820_096, 70),  # H200
        (85_029_158_912, 70),  # H100
        (50_925_535_232, 42),  # RTX A6000
        (42_405_855_232, 35),  # A100, 40 GB
        (25_438_126_080, 20),  # RTX 4090
        (23_600_000_000, 20),  # L4, some of whose memory is its own
        (17_179_869_184, 0),
    ],
)
def test_what_stays_on_a_card_is_of_wows_table(card: int, gb: int) -> None:
    assert persistent_gb(card) == gb


def test_what_stays_on_the_card_is_by_its_memory_and_counts_bytes(wow: FakeWow) -> None:
    """The parameters have two bytes each; the pipeline is told their number."""
    (wow.repo / "card_bytes").write_text("25438126080")
    made(wow, "wan-14b", "a")
    assert [call["parameters"] for call in wow.calls("on the card")] == [10_000_000_000]


def test_what_stays_on_the_card_is_chosen(wow: FakeWow) -> None:
    made(wow, "wan-14b", "a", persistent_gb=12.5)
    assert [call["parameters"] for call in wow.calls("on the card")] == [6_250_000_000]


def test_a_text_to_video_model_takes_images_once_wow_has_trained_it(wow: FakeWow) -> None:
    """The stand-in ends where its input has not as many channels as an image needs."""
    assert is_good(made(wow, "wan-1.3b", "a")[0])
    (call,) = wow.calls("wan-1.3b")
    assert call["weights"] == TRAINED_SMALL


def test_weights_that_take_no_image_are_refused(wow: FakeWow) -> None:
    wow.checkout.wan_weights("wan-1.3b").checkpoint.write_text('{"blocks.0.weight": 7}')
    assert "has no patch_embedding.weight, which takes the image" in reason(made(wow, "wan-1.3b", "a")[0])


LORA = {"blocks.0.lora_A.default.weight": 1, "blocks.0.lora_B.default.weight": 3}


def test_a_lora_is_added_to_the_weights(wow: FakeWow, tmp_path: Path) -> None:
    (tmp_path / "lora.ckpt").write_text(json.dumps(LORA))
    extra = ("--lora", str(tmp_path / "lora.ckpt"), "--lora-scale", "0.5")
    assert is_good(made(wow, "wan-14b", "a", extra=extra)[0])
    assert wow.calls("wan-14b")[0]["weights"] == {"blocks.0.weight": 7 + 0.5 * 3, "head.weight": 8}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"blocks.0.weight": 1}, "holds no LoRA"),
        (LORA | {"other.lora_B.default.weight": 1}, "another model: it changes other.weight, and 1 of the 2"),
    ],
)
def test_a_lora_that_would_be_passed_over_is_refused(
    wow: FakeWow, tmp_path: Path, state: object, said: str
) -> None:
    (tmp_path / "lora.ckpt").write_text(json.dumps(state))
    assert said in reason(made(wow, "wan-14b", "a", extra=("--lora", str(tmp_path / "lora.ckpt")))[0])


def test_of_a_video_the_first_frame_is_the_image(wow: FakeWow, tmp_path: Path) -> None:
    frames = np.zeros((4, 48, 64, 3), np.uint8)
    frames[0] = 200
    write_video(tmp_path / "first.mp4", frames, 8.0)
    assert is_good(made(wow, "wan-14b", "a", image=tmp_path / "first.mp4")[0])
    assert all(abs(value - 200) < 8 for value in wow.calls("wan video")[0]["corner"])


@pytest.mark.parametrize(
    "state",
    [
        TRAINED,
        {"blocks.0.weight": 7, "head.weight": 8},
        {"state_dict": {"model.blocks.0.weight": 7, "model.head.weight": 8}},
    ],
    ids=["deepspeed", "plain", "wrapped"],
)
def test_the_trained_weights_are_found_whatever_is_around_their_names(wow: FakeWow, state: object) -> None:
    write_weights(wow, state)
    assert is_good(made(wow, "wan-14b", "a")[0])
    assert wow.calls("wan-14b")[0]["weights"] == {"blocks.0.weight": 7, "head.weight": 8}


def test_a_checkpoint_of_the_users_own_takes_its_place(wow: FakeWow, tmp_path: Path) -> None:
    mine = {"blocks.0.weight": 1, "head.weight": 2}
    (tmp_path / "mine.pt").write_text(json.dumps(mine))
    assert is_good(made(wow, "wan-14b", "a", extra=("--checkpoint", str(tmp_path / "mine.pt")))[0])
    assert wow.calls("wan-14b")[0]["weights"] == mine


def test_the_first_release_of_wow_has_its_code_and_a_folder_of_deepspeed_elsewhere(tmp_path: Path) -> None:
    first = fake_checkout(tmp_path / "first", "DiffSynth-Studio")
    assert is_good(made(first, "wan-14b", "a")[0])
    assert first.calls("wan-14b")[0]["weights"] == {"blocks.0.weight": 7, "head.weight": 8}


@pytest.mark.parametrize(
    ("state", "said"),
    [({"encoder.weight": 1}, "has none of the 2 weights"), ([1], "holds no weights by name, but a list")],
)
def test_a_checkpoint_without_the_models_weights_is_refused(wow: FakeWow, state: object, said: str) -> None:
    """Passed over, it would leave the untrained model at work."""
    write_weights(wow, state)
    assert said in reason(made(wow, "wan-14b", "a")[0])


def test_a_checkpoint_is_read_with_pickle_only_when_it_is_trusted(wow: FakeWow) -> None:
    write_weights(wow, TRAINED | {"needs_pickle": True})
    assert "if you trust it, add --wow-extra-args --trust-checkpoint" in reason(made(wow, "wan-14b", "a")[0])
    with opened(wow, "wan-14b", extra=("--trust-checkpoint",)) as world:
        assert world.generate("a", seed=1, out_dir=wow.image.parent / "iter_00")


@pytest.mark.parametrize(("fault", "n_loaded"), [("[dies]", 2), ("[lost]", 2), ("[crash]", 1)])
def test_it_is_started_again_where_it_ended_or_lost_its_device(
    wow: FakeWow, fault: str, n_loaded: int
) -> None:
    results = made(wow, "wan-14b", "a", f"b {fault}", "c")
    assert [isinstance(one, Generation) for one in results] == [True, False, True]
    assert len(wow.calls("wan-14b")) == n_loaded


def test_what_libraries_print_is_in_the_log_of_the_candidate(wow: FakeWow, tmp_path: Path) -> None:
    made(wow, "wan-14b", "a", "b")
    logs = [(tmp_path / f"iter_0{i}" / "generator.log").read_text() for i in (0, 1)]
    assert "2 of 2 weights are from" in logs[0]
    assert "generating a" in logs[0]
    assert "generating b" in logs[1]
    assert "generating a" not in logs[1]


@needs_proc
def test_it_ends_with_its_world(wow: FakeWow, tmp_path: Path) -> None:
    (request,) = asked(tmp_path, ["a"])
    with opened(wow, "wan-14b") as world:
        world.generate("a", seed=1, out_dir=request.out_dir)
        assert running_in(wow.repo)
    assert running_in(wow.repo) == []


@needs_proc
def test_it_ends_in_the_middle_of_a_generation_when_its_parent_is_killed(
    wow: FakeWow, tmp_path: Path
) -> None:
    requests = asked(tmp_path, ["a [hang]"])
    parent = os.fork()
    if parent == 0:
        opened(wow, "wan-14b").generate_all(requests)
        os._exit(0)
    wait_until(lambda: wow.calls("hangs"), 60)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: not running_in(wow.repo))


def test_an_image_is_read_as_colours(wow: FakeWow, tmp_path: Path) -> None:
    """Grey and transparent ones too, which PIL opens in modes of their own."""
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.full((48, 64), 99, np.uint8))
    assert is_good(made(wow, "wan-14b", "a", image=grey)[0])
    assert wow.calls("wan video")[0]["corner"] == [99, 99, 99]
