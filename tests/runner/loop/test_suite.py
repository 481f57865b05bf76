"""Files of prompts as WoW's benchmark has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest

from runner.loop.refiner import MAX_GOAL_CHARS
from runner.loop.suite import EXTENSIONS, Prompts, Shard, SuiteTask, find_image, read_prompts, with_images
from streams.errors import BadInput


def line(index: int | str = 0, image: str = "a.png", **changes: Any) -> bytes:
    return orjson.dumps(
        {"index": index, "image": image, "generated_description": f"task {index}", "original_lang": "茶"}
        | changes
    )


def written(folder: Path, *lines: bytes) -> Path:
    path = folder / "prompts.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def tasks(n: int) -> tuple[SuiteTask, ...]:
    return tuple(SuiteTask(index=i, prompt=f"task {i}", image=Path("a.png")) for i in range(n))


def test_a_line_is_a_task(tmp_path: Path) -> None:
    prompts = read_prompts(written(tmp_path, line(3, "i/a.png"), b"", line("00000012", "b.png"), b""))
    first, second = prompts.tasks
    assert (first.index, first.prompt, first.image, first.original_lang) == (
        3,
        "task 3",
        Path("i/a.png"),
        "茶",
    )
    assert second.index == 12


def test_the_original_language_may_be_missing_and_other_entries_are_no_matter(tmp_path: Path) -> None:
    raw = (
        b'{"index": 1, "image": "a", "generated_description": "g", "unique_id": "x/1", "original_lang": null}'
    )
    (task,) = read_prompts(written(tmp_path, raw)).tasks
    assert task.original_lang == ""


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "the file is empty; expected one prompt a line"),
        ([line(0), b"{"], "@line 2: "),
        ([line(0), b"[1]"], "@line 2: Expected `object`"),
        ([b'{"index": 1, "image": "a.png"}'], "a required field is missing: `generated_description`"),
        ([line(-1)], "index is -1"),
        ([line("seven")], "index is 'seven'"),
        ([line(0), line("9" * 23)], f"@line 2: index is '{'9' * 23}' and image is 'a.png'; expected a whole"),
        ([line(0), line(0).replace(b'"index":0', b'"index":' + b"9" * 23)], "@line 2: "),
        ([line(2**53 + 1)], "expected a whole number from 0 to 9007199254740992"),
        (
            [line(0), b'{"index": 1, "index": 2, "generated_description": "g"}'],
            "@line 2: 'index' appears twice",
        ),
        (
            [line(0), line(1, generated_description="a\0b")],
            "@line 2: generated_description: the goal has a NUL",
        ),
        ([line(0, "")], "image is ''"),
        ([line(0, generated_description=7)], "Expected `str`, got `int`"),
        ([line(1), line("01")], "@line 2: index 1 appears twice"),
        ([line(0, generated_description=" ")], "@line 1: generated_description: the goal is blank"),
        ([line(0, generated_description="\u200b")], "@line 1: generated_description: the goal is blank"),
        (
            [line(0), line(1, generated_description="x" * (MAX_GOAL_CHARS + 1))],
            f"@line 2: generated_description: the goal has {MAX_GOAL_CHARS + 1} characters",
        ),
        ([line(0), b"\xff\xfe"], "@line 2: "),
    ],
)
def test_a_damaged_file_is_one_line_that_names_its_place(
    tmp_path: Path, lines: list[bytes], complaint: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        read_prompts(written(tmp_path, *lines))
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_image_may_have_another_extension_than_the_file_says(tmp_path: Path, extension: str) -> None:
    (tmp_path / f"frame.0{extension}").touch()
    assert find_image(Path("frame.0.gif"), [tmp_path]) == tmp_path / f"frame.0{extension}"


def test_the_image_as_it_is_given_comes_before_all_others(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.bmp"):
        (tmp_path / name).touch()
    assert find_image(Path("a.bmp"), [tmp_path]) == tmp_path / "a.bmp"
    assert find_image(Path("a.tiff"), [tmp_path]) == tmp_path / "a.jpg"


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert find_image(Path("a.png"), [tmp_path]) is None


def test_the_image_that_is_named_wins_over_another_extension_in_an_earlier_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    (first / "a.jpg").touch()
    (second / "a.png").touch()
    assert find_image(Path("a.png"), [first, second]) == second / "a.png"
    assert find_image(Path("a.bmp"), [first, second]) == first / "a.jpg"


@pytest.mark.parametrize("entries", [{}, {"image": None}])
def test_a_prompt_may_have_no_image_unless_one_is_needed(tmp_path: Path, entries: dict[str, Any]) -> None:
    raw = orjson.dumps({"index": 4, "generated_description": "g", **entries})
    prompts = read_prompts(written(tmp_path, line(), raw))
    assert prompts.tasks[1].image is None
    (tmp_path / "a.png").touch()
    with pytest.raises(BadInput, match="index 4 has no image, and the world model begins with one"):
        with_images(prompts, [tmp_path])


def test_images_are_looked_for_in_one_folder_after_the_other(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    cv2.imwrite(str(second / "a.png"), np.zeros((8, 8, 3), np.uint8))
    prompts = with_images(read_prompts(written(tmp_path, line())), [first, second])
    assert prompts.tasks[0].image == second / "a.png"
    (first / "a.jpg").touch()
    assert with_images(prompts, [first]).tasks[0].image == second / "a.png"  # absolute by now


def test_every_image_that_cannot_be_decoded_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    lines = [line(0, "good.png"), line(1, "bad.png"), line(2, "empty.jpg")]
    with pytest.raises(BadInput, match=r"2 of 3 images unusable: index 1: \S*bad\.png: cannot be decoded"):
        with_images(read_prompts(written(tmp_path, *lines)), [tmp_path])


def test_every_missing_image_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    (tmp_path / "here.png").touch()
    lines = [line(100, "here.png"), *(line(i, f"gone-{i}.png") for i in range(7))]
    with pytest.raises(BadInput) as refusal:
        with_images(read_prompts(written(tmp_path, *lines)), [tmp_path])
    assert "7 of 8 images missing" in str(refusal.value)
    assert "gone-0.png (index 0)" in str(refusal.value)
    assert "and 2 more; looked in " in str(refusal.value)


@pytest.mark.parametrize("n", [0, 1, 7, 8])
@pytest.mark.parametrize("of", [1, 3, 8, 9])
def test_the_shards_are_all_tasks_each_once(n: int, of: int) -> None:
    parts = [Shard.parse(f"{number}/{of}").take(tasks(n)) for number in range(1, of + 1)]
    assert sorted(task.index for part in parts for task in part) == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("given", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_a_shard_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(BadInput, match="expected I/N with I from 1 to N"):
        Shard.parse(given)


def test_run_ids_are_those_of_suite_and_index() -> None:
    assert tasks(8)[7].run_id("bench") == "bench-00000007"


def test_each_task_has_a_seed_of_its_own_that_the_suites_seed_decides() -> None:
    seeds = {task.seed(seed) for task in tasks(50) for seed in (0, 1)}
    assert len(seeds) == 100
    assert tasks(2)[1].seed(3) == tasks(9)[1].seed(3)


def test_the_same_prompt_is_the_same_task_in_every_suite(tmp_path: Path) -> None:
    first, again = (read_prompts(written(tmp_path, line(5))) for _ in range(2))
    other = read_prompts(written(tmp_path, line(5), line(6)))

    def id_of(prompts: Prompts) -> str:
        return prompts.task_id(prompts.tasks[0])

    assert id_of(first) == id_of(again) != id_of(other)
