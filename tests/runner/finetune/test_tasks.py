"""What checkpoints are compared on."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from runner.finetune.comparison import PairedTask
from runner.finetune.tasks import MOST_SIMULATED, generated_by, simulated_tasks, tasks_of
from runner.video import write_video
from streams.errors import BadInput
from tests.recorded_runs import footage


def test_simulated_goals_differ_and_are_always_the_same() -> None:
    tasks = simulated_tasks(MOST_SIMULATED, 2)
    assert len({task.goal for task in tasks}) == MOST_SIMULATED
    assert len({task.seed for task in tasks}) == len(tasks) == 2 * MOST_SIMULATED
    assert tasks == simulated_tasks(MOST_SIMULATED, 2)


def test_a_file_has_a_prompt_a_line_each_with_its_seeds(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("pour the tea\n\n  open the drawer \n")
    tasks = tasks_of(tmp_path / "prompts.txt", 2)
    assert [task.goal for task in tasks] == ["pour the tea"] * 2 + ["open the drawer"] * 2
    assert len({task.seed for task in tasks}) == 4


def test_wows_json_lines_bring_their_first_frames(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    line = b'{"index": 1, "image": "a.jpg", "generated_description": "pour the tea"}\n'
    (tmp_path / "prompts.jsonl").write_bytes(line)
    (task,) = tasks_of(tmp_path / "prompts.jsonl", 1)
    assert (task.goal, task.image) == ("pour the tea", str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; expected one prompt"),
        ("\u200b\n", "is empty; expected one prompt"),
        ("tea\ntea\n", "appears twice"),
    ],
)
def test_a_file_without_prompts_or_with_one_twice_is_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "prompts.txt").write_text(content)
    with pytest.raises(BadInput, match=says):
        tasks_of(tmp_path / "prompts.txt", 1)


def test_a_generator_is_given_the_checkpoint(tmp_path: Path) -> None:
    write_video(tmp_path / "weights.mp4", footage(1), 8.0)
    copy = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2] + '/' + sys.argv[3] + '.mp4')"
    command = f'{sys.executable} -c "{copy}" {{checkpoint}} {{out_dir}} {{prompt}}'
    world = generated_by(command, 60.0)(str(tmp_path / "weights.mp4"), PairedTask("tea", 1))
    (tmp_path / "out").mkdir()
    made = world.generate("tea", seed=1, out_dir=tmp_path / "out")
    assert made.video == tmp_path / "out" / "tea.mp4"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("true {prompt} {out_dir}", r"lacks \{checkpoint\}"),
        ("true {checkpoint} {prompt}", r"lacks \{out_dir\}"),
        ("true {checkpoint} {prompt} {out_dir} {base}", r"has \{base\}"),
    ],
)
def test_a_generators_command_that_cannot_compare_is_refused(command: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        generated_by(command, 60.0)
