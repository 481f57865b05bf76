"""WoW's models as world models, on stand-ins for its programs: real processes and real videos."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runner.interfaces import (
    BatchWorldModel,
    FailuresInARow,
    Generation,
    GenerationFailed,
    GenerationRequest,
)
from runner.video import read_video
from runner.worlds.process import LOCK_NAME, LOG_NAME
from runner.worlds.wow.checkout import POST_TRAINED
from runner.worlds.wow.models import open_world
from runner.worlds.wow.names import MODELS, ModelName
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.world import Made, WowWorld
from streams.errors import BadInput
from tests.interrupts import interrupts_heard
from tests.runner.worlds.test_group_lock import is_held
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from tests.waiting import wait_until

every_model = pytest.mark.parametrize(
    "model", [pytest.param(model, marks=pytest.mark.long if model == "dit-7b" else ()) for model in MODELS]
)


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


def opened(wow: FakeWow, model: ModelName, **settings: Any) -> WowWorld:
    given: dict[str, Any] = {"python": sys.executable, "timeout_s": 60.0, "image": wow.image} | settings
    return open_world(model, WowSettings(checkout=wow.checkout, **given))


def asked(
    folder: Path, prompts: Sequence[str], seeds: Sequence[int] | None = None
) -> list[GenerationRequest]:
    requests = [
        GenerationRequest(prompt=prompt, seed=seed, out_dir=folder / f"iter_{place:02d}")
        for place, (prompt, seed) in enumerate(zip(prompts, seeds or [7] * len(prompts), strict=True))
    ]
    for request in requests:
        request.out_dir.mkdir()
    return requests


def made(
    wow: FakeWow, model: ModelName, *prompts: str, seeds: Sequence[int] | None = None, **more: Any
) -> list[Made]:
    with opened(wow, model, **more) as world:
        return world.generate_all(asked(wow.image.parent, prompts, seeds))


def reason(one: Made) -> str:
    assert isinstance(one, GenerationFailed), one
    return str(one)


def is_good(one: Made) -> bool:
    return isinstance(one, Generation) and len(read_video(one.video)[0]) == 8


@every_model
def test_a_video_is_made_of_prompt_image_and_seed(wow: FakeWow, model: ModelName, tmp_path: Path) -> None:
    (request,) = asked(tmp_path, ["pour the tea"])
    with opened(wow, model) as world:
        assert isinstance(world, BatchWorldModel)
        assert world.name == f"wow-{model}"
        generation = world.generate("pour the tea", seed=7, out_dir=request.out_dir)
    assert generation.video == request.out_dir / "video.mp4"
    assert is_good(generation)
    assert generation.meta == {"generator_log": "generator.log"}
    assert sorted(path.name for path in request.out_dir.iterdir()) == ["generator.log", "video.mp4"]


@every_model
def test_several_candidates_have_each_the_video_of_its_seed(wow: FakeWow, model: ModelName) -> None:
    results = made(wow, model, "a", "b", "a", seeds=[1, 1, 2])
    videos = [read_video(one.video)[0] for one in results if isinstance(one, Generation)]
    assert len(videos) == 3
    assert np.array_equal(videos[0], videos[1])
    assert not np.array_equal(videos[0], videos[2])
    for one in results:
        assert isinstance(one, Generation)
        assert (one.video.parent / "generator.log").read_text()


@every_model
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("[reject]", "left no video"),
        ("[crash]", "left no video"),
        ("[empty]", "left an empty file"),
        ("[partial]", "left no whole video"),
        ("[text]", "left no whole video"),
    ],
)
def test_what_is_no_whole_video_is_a_failed_candidate_and_costs_no_other(
    wow: FakeWow, model: ModelName, fault: str, said: str
) -> None:
    first, failed, last = made(wow, model, "a", f"b {fault}", "c")
    assert is_good(first)
    assert is_good(last)
    assert said in reason(failed)
    folder = wow.image.parent / "iter_01"
    assert [path.name for path in folder.iterdir()] == ["generator.log"]


@every_model
@pytest.mark.parametrize(("n", "most", "gpus"), [(4, 3, 1), (5, 2, 1), (8, 3, 2)])
def test_a_model_that_does_not_load_is_tried_no_more_than_may_fail(
    wow: FakeWow, model: ModelName, tmp_path: Path, n: int, most: int, gpus: int
) -> None:
    wow.break_down(model)
    with opened(wow, model, gpus=tuple(map(str, range(gpus)))) as world:
        results = world.generate_all(asked(tmp_path, "abcdefgh"[:n]), failures=FailuresInARow(most))
    loads = len(wow.calls("load"))
    assert most <= loads <= most + gpus - 1
    said = [reason(one) for one in results]
    assert sum("not tried, as those before it failed, at last: " in why for why in said) == n - loads
    assert all("no checkpoint" in why for why in said)


def test_failures_of_a_batch_that_others_come_between_end_nothing(wow: FakeWow) -> None:
    prompts = ["a [crash]", "b", "c [crash]", "d"]
    with opened(wow, "dit-2b") as world:
        results = world.generate_all(asked(wow.image.parent, prompts), failures=FailuresInARow(2))
    assert [is_good(one) for one in results] == [False, True, False, True]


@every_model
def test_the_end_of_what_it_printed_is_in_the_error(wow: FakeWow, model: ModelName) -> None:
    (failed,) = made(wow, model, "a [crash]")
    assert "its last words (generator.log): …" in reason(failed)
    assert "CUDA out of memory" in reason(failed)
    assert "\n" not in reason(failed)


@every_model
def test_a_whole_video_counts_whatever_the_exit_status(wow: FakeWow, model: ModelName) -> None:
    (good,) = made(wow, model, "a [fails late]")
    assert is_good(good)
    assert isinstance(good, Generation)
    assert good.meta["ending"] == "ended with status 3"


@every_model
def test_a_video_that_could_be_longer_counts_only_where_its_program_ended_well(
    wow: FakeWow, model: ModelName
) -> None:
    good, failed = made(wow, model, "a [fragments]", "b [fragments] [fails late]", seeds=[1, 2])
    assert is_good(good)
    assert "ended with status 3 and left no whole video" in reason(failed)


@every_model
def test_a_time_out_ends_the_whole_group_and_costs_its_candidate_alone(
    wow: FakeWow, model: ModelName
) -> None:
    first, failed, last = made(wow, model, "a", "b [hang]", "c", timeout_s=8.0)
    assert is_good(first)
    assert is_good(last)
    assert "was stopped after 8 s" in reason(failed)
    assert_all_ended(wow)


@every_model
def test_a_whole_video_of_a_program_that_does_not_end_counts(wow: FakeWow, model: ModelName) -> None:
    (good,) = made(wow, model, "a [hangs late]", timeout_s=8.0)
    assert is_good(good)
    assert_all_ended(wow)


@every_model
def test_an_interruption_ends_the_processes_of_all_gpus_and_closes_the_world(
    wow: FakeWow, model: ModelName, tmp_path: Path
) -> None:
    """Both hang: if one waited for the other, the second would never begin."""
    requests = asked(tmp_path, ["a [hang]", "b [hang]"])

    def interrupt() -> None:
        wait_until(lambda: len(wow.calls("hangs")) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    with interrupts_heard(), opened(wow, model, gpus=("0", "GPU-1")) as world:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            world.generate_all(requests)
        interrupter.join()
        assert_all_ended(wow)
        assert all("was ended" in reason(one) for one in world.generate_all(requests))
    devices = {call["environment"]["CUDA_VISIBLE_DEVICES"] for call in wow.calls("hangs")}
    assert devices == {"0", "GPU-1"}


@every_model
def test_without_gpus_the_environment_is_left_and_one_works_at_a_time(
    wow: FakeWow, model: ModelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    made(wow, model, "a", "b", seeds=[1, 2])
    devices = [call["environment"]["CUDA_VISIBLE_DEVICES"] for call in wow.calls(model)]
    assert devices == (["5"] if model.startswith("wan") else ["5", "5"])


@every_model
def test_progress_is_heard_while_it_runs(wow: FakeWow, model: ModelName, tmp_path: Path) -> None:
    """It would run for good, were it not ended by who hears of its last step."""
    last = "step 30 of 30" if model.startswith("wan") else "100%|███| 3/3"
    heard: set[str] = set()

    def listen(folder: Path, line: str) -> None:
        heard.add(folder.name)
        if last in line:
            world.close()

    world = opened(wow, model, listener=listen)
    (failed,) = world.generate_all(asked(tmp_path, ["a [hang]"]))
    assert "ended with status -9" in reason(failed)
    assert heard == {"iter_00"}


@every_model
def test_a_prompt_arrives_as_it_is_whatever_it_holds(wow: FakeWow, model: ModelName) -> None:
    prompts = ["--seed 3", "a\nb “ü” $(x)"]
    assert all(map(is_good, made(wow, model, *prompts, seeds=[1, 2])))
    if model.startswith("wan"):
        assert [call["prompt"] for call in wow.calls("wan video")] == prompts
    else:
        assert [call["arguments"]["prompt"] for call in wow.calls(model)] == prompts


@every_model
def test_extra_arguments_are_the_generators(wow: FakeWow, model: ModelName) -> None:
    extra = ("--steps", "2") if model.startswith("wan") else ("--guidance", "5")
    assert is_good(made(wow, model, "a", extra=extra)[0])
    if model.startswith("wan"):
        assert wow.calls("wan video")[0]["steps"] == 2
    else:
        assert wow.calls(model)[0]["arguments"]["guidance"] == 5.0


@pytest.mark.parametrize("model", ["wan-14b", "wan-1.3b"])
@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (("--nosuch", "3"), "--wow-extra-args: unrecognized arguments: --nosuch 3"),
        (("--fps", "many"), "--wow-extra-args: argument --fps: invalid int value: 'many'"),
        (("--help",), "--wow-extra-args: usage: "),
    ],
)
def test_an_extra_argument_that_the_driver_does_not_have_is_said_before_anything_is_loaded(
    wow: FakeWow, model: ModelName, extra: tuple[str, ...], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        opened(wow, model, extra=extra)


@pytest.mark.parametrize(
    ("model", "extra"), [("dit-2b", "--seed=3"), ("dit-7b", "--video_save"), ("wan-14b", "--device")]
)
def test_what_differs_between_candidates_is_no_extra_argument(
    wow: FakeWow, model: ModelName, extra: str
) -> None:
    with pytest.raises(BadInput, match="is given for each candidate"):
        opened(wow, model, extra=(extra, "x"))


@every_model
def test_another_first_frame_needs_no_other_world(wow: FakeWow, model: ModelName, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), np.full((48, 64, 3), (1, 2, 3), np.uint8))
    first, second = asked(tmp_path, ["a", "b"])
    with opened(wow, model) as world:
        assert is_good(world.generate("a", seed=1, out_dir=first.out_dir))
        assert is_good(world.with_image(other).generate("b", seed=1, out_dir=second.out_dir))
        with pytest.raises(BadInput, match=r"gone\.png is missing"):
            world.with_image(tmp_path / "gone.png")
    if model.startswith("wan"):
        assert len(wow.calls(model)) == 1
        assert [call["corner"] for call in wow.calls("wan video")] == [[10, 20, 30], [3, 2, 1]]


@every_model
def test_all_that_is_missing_is_named_at_once(wow: FakeWow, model: ModelName, tmp_path: Path) -> None:
    needed = wow.checkout.needed(model)
    for need in needed:
        shutil.rmtree(need.path) if need.path.is_dir() else need.path.unlink()
    with pytest.raises(BadInput) as refusal:
        opened(wow, model, image=tmp_path / "gone.png", python="no-such-python")
    said = str(refusal.value)
    assert [str(need.path) for need in needed if f"the {need.what} {need.path} is missing" not in said] == []
    assert "the interpreter 'no-such-python'" in said
    assert "gone.png is missing" in said
    assert "\n" not in said
    assert wow.calls(model) == []


@every_model
def test_a_repository_that_is_not_there_is_named(tmp_path: Path, wow: FakeWow, model: ModelName) -> None:
    shutil.rmtree(wow.repo)
    with pytest.raises(BadInput, match=r"the repository \S*WoW is missing \("):
        opened(wow, model)


@pytest.mark.parametrize(
    ("name", "said"),
    [("first.PNG", "ends in .PNG"), ("first.gif", "ends in .gif"), ("broken.png", "cannot be decoded")],
)
def test_an_image_that_would_be_passed_over_is_refused(
    wow: FakeWow, tmp_path: Path, name: str, said: str
) -> None:
    image = tmp_path / name
    image.write_bytes(b"no image" if "broken" in name else wow.image.read_bytes())
    with pytest.raises(BadInput, match=said):
        opened(wow, "dit-2b", image=image)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_wow_does_not_take_is_refused_before_anything_is_loaded(wow: FakeWow, seed: int) -> None:
    with pytest.raises(BadInput, match=r"WoW takes whole numbers from 0 to 4294967295"):
        made(wow, "dit-2b", "a", seeds=[seed])
    assert wow.calls("dit-2b") == []


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        ("wan-14b", {"frames": 80}, "one more than a multiple of 4: give 77 or 81"),
        ("dit-7b", {"frames": 120}, "one more than a multiple of 8, up to 121: give 113 or 121"),
        ("dit-7b", {"frames": 129}, "up to 121: give 121"),
        ("dit-2b", {"steps": 5}, "--steps does not apply to WoW's dit-2b"),
        ("dit-7b", {"persistent_gb": 0.0}, "--persistent-gb does not apply to WoW's dit-7b"),
        ("dit-7b", {"tiled": False}, "--tiled does not apply to WoW's dit-7b"),
        ("wan-14b", {"steps": 5, "extra": ("--steps=6",)}, "has --steps, which --steps also sets; give one"),
    ],
)
def test_an_option_that_the_model_does_not_take_is_refused(
    wow: FakeWow, model: ModelName, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        opened(wow, model, **settings)


def test_frames_and_steps_of_dit_7b_are_chosen(wow: FakeWow) -> None:
    assert is_good(made(wow, "dit-7b", "a", frames=57, steps=4)[0])
    given = wow.calls("dit-7b")[0]["arguments"]
    assert (given["num_video_frames"], given["num_steps"]) == (57, 4)


def test_a_link_to_an_image_keeps_its_ending(wow: FakeWow, tmp_path: Path) -> None:
    """As in a cache, whose files have no endings."""
    blob = wow.image.rename(tmp_path / "0a1b2c")
    wow.image.symlink_to(blob)
    assert is_good(made(wow, "dit-2b", "a")[0])


@pytest.mark.parametrize("gpus", [("0", "0"), ("",)])
def test_gpus_that_are_none_are_refused(wow: FakeWow, gpus: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="the GPUs are"):
        opened(wow, "dit-2b", gpus=gpus)


def test_dit_2b_is_called_as_wow_calls_it(wow: FakeWow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDA_PREFIX", "/conda")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    made(wow, "dit-2b", "a", seeds=[5])
    (call,) = wow.calls("dit-2b")
    folder = wow.checkout.dit_2b
    assert call["cwd"] == str(folder)
    assert call["environment"]["CUDA_HOME"] == "/conda"
    assert call["environment"]["PYTHONPATH"].split(":") == [
        str(folder),
        str(wow.repo),
        str(wow.repo / "scripts"),
    ]
    video = call["arguments"].pop("save_path")
    assert os.path.isabs(video)
    assert call["arguments"] == {
        "model_size": "2B", "resolution": "720", "fps": 16, "num_conditional_frames": 1, "guidance": 7.0,
        "dit_path": "checkpoints/wow_dit_2b.pt", "disable_prompt_refiner": True, "disable_guardrail": True,
        "offload_prompt_refiner": False, "offload_guardrail": False, "input_path": str(wow.image),
        "prompt": "a", "seed": 5, "negative_prompt": "", "batch_input_json": None, "num_gpus": 1,
        "benchmark": False,
    }  # fmt: skip


def test_dit_2b_loads_once_for_the_candidates_of_a_seed(wow: FakeWow) -> None:
    assert all(map(is_good, made(wow, "dit-2b", "a", "b", "a", seeds=[1, 1, 2])))
    calls = wow.calls("dit-2b")
    assert [call["arguments"]["seed"] for call in calls] == [1, 2]
    (batch,) = wow.calls("batch")
    assert [item["dense_lang"] for item in batch["items"]] == ["a", "b"]
    assert {item["video_path"] for item in batch["items"]} == {str(wow.image)}
    assert all(os.path.isabs(item["output_video"]) for item in batch["items"])
    assert not (wow.repo / "fixed-folder").exists()
    assert calls[1]["arguments"]["batch_input_json"] is None


def test_the_double_puts_a_relative_output_where_wow_does(wow: FakeWow, tmp_path: Path) -> None:
    line = f'{{"video_path": "{wow.image}", "dense_lang": "a", "output_video": "a.mp4"}}\n'
    (tmp_path / "batch.jsonl").write_text(line)
    folder = wow.checkout.dit_2b
    subprocess.run(
        [
            *(sys.executable, "video2world.py", "--disable_guardrail"),
            *("--dit_path", "checkpoints/wow_dit_2b.pt", "--batch_input_json", str(tmp_path / "batch.jsonl")),
        ],
        cwd=folder,
        env=wow.checkout.environment("dit-2b", sys.executable, None, {"PATH": os.environ["PATH"]}),
        check=True,
    )
    assert (wow.repo / "fixed-folder" / "a.mp4").is_file()


def test_dit_2b_shares_the_candidates_of_a_seed_out_among_gpus(wow: FakeWow) -> None:
    assert all(map(is_good, made(wow, "dit-2b", "a", "b", "c", gpus=("0", "1"))))
    batches = sorted(len(call["items"]) for call in wow.calls("batch"))
    assert (len(wow.calls("dit-2b")), batches) == (2, [2])


def test_the_one_log_of_dit_2b_can_be_read_beside_each_video_while_it_runs(
    wow: FakeWow, tmp_path: Path
) -> None:
    requests = asked(tmp_path, ["a", "b"])
    wow.hold("until", after=1)
    with opened(wow, "dit-2b") as world:
        work = threading.Thread(target=world.generate_all, args=(requests,))
        work.start()
        wait_until(lambda: wow.calls("held up"), 60)
        while_it_runs = [(request.out_dir / LOG_NAME).read_text() for request in requests]
        wow.release()
        work.join()
    assert "item 2 of 2" in while_it_runs[0]
    assert while_it_runs[0] == while_it_runs[1]
    assert not (requests[1].out_dir / LOG_NAME).is_symlink()


@every_model
def test_a_generator_holds_the_locks_of_the_candidates_that_it_is_at_work_on(
    wow: FakeWow, model: ModelName, tmp_path: Path
) -> None:
    """Those that were laid; the first candidate is made before, so that a driver that stays has been idle."""
    requests = asked(tmp_path, ["a", "b", "c", "d"])
    with opened(wow, model) as world:
        world.generate("a", seed=7, out_dir=requests[0].out_dir)
        for request in requests[1:]:
            (request.out_dir / LOCK_NAME).touch()
        wow.hold("until", after=1)
        work = threading.Thread(target=world.generate_all, args=(requests[1:],))
        work.start()
        wait_until(lambda: wow.calls("held up"), 60)
        held = [is_held(request.out_dir / LOCK_NAME) for request in requests[1:]]
        noted = (requests[1].out_dir / LOCK_NAME).read_text()
        wow.release()
        work.join()
        assert not any(is_held(request.out_dir / LOCK_NAME) for request in requests[1:])
    assert held == [True, model == "dit-2b", model == "dit-2b"]
    assert noted == f"group {wow.calls('held up')[0]['pid']} on {os.uname().nodename}\n"
    assert not (requests[0].out_dir / LOCK_NAME).exists()


def test_dit_2b_begins_again_after_the_candidate_that_ended_it(wow: FakeWow) -> None:
    results = made(wow, "dit-2b", "a", "b [crash]", "c", "d")
    assert [isinstance(one, Generation) for one in results] == [True, False, True, True]
    assert [len(call["items"]) for call in wow.calls("batch")] == [4, 2]


def test_dit_7b_is_called_as_wow_calls_it(wow: FakeWow, tmp_path: Path) -> None:
    made(wow, "dit-7b", "a", seeds=[5])
    (call,) = wow.calls("dit-7b")
    given = call["arguments"]
    assert call["cwd"] == str(wow.checkout.dit_7b)
    assert {name: given[name] for name in given if name not in ("video_save_folder", "video_save_name")} == {
        "checkpoint_dir": str(wow.checkout.dit_7b / "checkpoints"),
        "tokenizer_dir": "Cosmos-Tokenize1-CV8x8x8-720p",
        "prompt": "a", "batch_input_path": None, "negative_prompt": "", "num_steps": 35, "guidance": 7,
        "num_video_frames": 121, "height": 720, "width": 1024, "fps": 24, "seed": 5, "num_gpus": 1,
        "disable_prompt_upsampler": True, "offload_diffusion_transformer": True, "offload_tokenizer": False,
        "offload_text_encoder_model": True, "offload_prompt_upsampler": False,
        "offload_guardrail_models": False, "disable_guardrail": True, "prompt_upsampler_dir": "Pixtral-12B",
        "diffusion_transformer_dir": POST_TRAINED, "input_image_or_video_path": str(wow.image),
        "num_input_frames": 1,
    }  # fmt: skip
    assert Path(given["video_save_folder"]).parent == tmp_path / "iter_00"


def test_dit_7b_links_its_checkpoint_and_leaves_a_right_link(wow: FakeWow) -> None:
    checkpoints = wow.checkout.dit_7b / "checkpoints"
    link = checkpoints / POST_TRAINED / "model.pt"
    opened(wow, "dit-7b")
    assert link.readlink() == checkpoints / "wow_dit_7b.pt"
    link.unlink()
    link.symlink_to("../wow_dit_7b.pt")
    opened(wow, "dit-7b")
    assert str(link.readlink()) == "../wow_dit_7b.pt"


def test_dit_7b_makes_a_link_to_nowhere_anew(wow: FakeWow) -> None:
    checkpoints = wow.checkout.dit_7b / "checkpoints"
    link = checkpoints / POST_TRAINED / "model.pt"
    link.parent.mkdir()
    link.symlink_to("/moved/wow_dit_7b.pt")
    opened(wow, "dit-7b")
    assert link.readlink() == checkpoints / "wow_dit_7b.pt"
    assert [path.name for path in link.parent.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("foreign", ["file", "link"])
def test_dit_7b_leaves_a_foreign_checkpoint_and_says_so(wow: FakeWow, tmp_path: Path, foreign: str) -> None:
    link = wow.checkout.dit_7b / "checkpoints" / POST_TRAINED / "model.pt"
    link.parent.mkdir()
    (tmp_path / "other.pt").write_text("mine")
    if foreign == "file":
        shutil.copy(tmp_path / "other.pt", link)
    else:
        link.symlink_to(tmp_path / "other.pt")
    with pytest.raises(BadInput, match=r"is a file of its own|links to .*other\.pt"):
        opened(wow, "dit-7b")
    assert link.read_text() == "mine"


def assert_all_ended(wow: FakeWow) -> None:
    """Neither the programs nor the workers they had started, which wait for good, are there any more."""
    assert wow.calls("hangs")
    if Path("/proc/self/environ").exists():
        wait_until(lambda: not list(running_in(wow.repo)))


def running_in(repo: Path) -> list[str]:
    """The processes whose PYTHONPATH is of this checkout; only ``environment`` sets that."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PYTHONPATH={repo}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found
