"""What the stand-ins share. A prompt may ask for a fault by a word in brackets, such as ``[crash]``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from runner.video import write_video

REPO = Path(__file__).parents[1]
STEPS = 3
KEPT = ("PYTHONPATH", "CUDA_HOME", "CONDA_PREFIX", "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF")


def note(what: str, **more: Any) -> None:
    """For the tests to read: what was called, and how."""
    known = {name: os.environ[name] for name in KEPT if name in os.environ}
    entry = {"what": what, "pid": os.getpid(), "cwd": os.getcwd(), "environment": known, **more}
    with (REPO / "calls.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def refuse_unless(is_right: bool, why: str) -> None:
    if not is_right:
        sys.exit(f"the double refuses: {why}")


def needs(path: str) -> None:
    if not Path(path).exists():
        raise FileNotFoundError(f"[Errno 2] No such file or directory: '{path}'")


def check_environment(allocator: bool) -> None:
    parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    refuse_unless({os.getcwd(), str(REPO), str(REPO / "scripts")} <= set(parts), f"PYTHONPATH is {parts}")
    prefix = os.environ.get("CONDA_PREFIX")
    refuse_unless(prefix is None or os.environ.get("CUDA_HOME") == prefix, "CUDA_HOME is not CONDA_PREFIX")
    if allocator:
        set_to = os.environ.get("PYTORCH_CUDA_ALLOC_CONF")
        refuse_unless(set_to == "expandable_segments:True", f"PYTORCH_CUDA_ALLOC_CONF is {set_to}")


def denoise(prompt: str, seed: int) -> None:
    """Progress as tqdm prints it, and the faults that come before there is a video."""
    for step in range(STEPS + 1):
        done = 100 * step // STEPS
        print(f"\r{done:3}%|{'█' * step:<{STEPS}}| {step}/{STEPS}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if "[crash]" in prompt:
        raise RuntimeError("CUDA out of memory")
    if "[hang]" in prompt:
        hang()
    while "[wait]" in prompt and not (REPO / "go").exists():
        time.sleep(0.02)


def hang() -> None:
    """For good, and with a worker that outlives a signal to the program alone."""
    subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()  # hanging worker"])
    note("hangs")
    threading.Event().wait()


def film(path: str, prompt: str, seed: int, fps: float) -> None:
    """A real video of its seed, or what the prompt asks for instead; noted once it is there."""
    target = Path(path)
    held_up(target, prompt, seed, fps)
    make_film(target, prompt, seed, fps)
    note("film", prompt=prompt, seed=seed)


def held_up(target: Path, prompt: str, seed: int, fps: float) -> None:
    """By ``hold.json``, ``{"after", "how", "prompt"}``: when so many films are made, at prompts with this.

    ``how``: "before" it is begun, or at "half" of it, it waits for good; "until" that file is gone, it waits
    with it.
    """
    hold, notes = REPO / "hold.json", REPO / "calls.jsonl"
    try:
        asked = json.loads(hold.read_text())
    except FileNotFoundError:
        return
    made = sum(json.loads(line)["what"] == "film" for line in notes.read_text().splitlines())
    if made < asked["after"] or asked["prompt"] not in prompt:
        return
    if asked["how"] == "half":
        make_film(target, prompt, seed, fps)
        target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    note("held up")
    while hold.exists() or asked["how"] != "until":
        time.sleep(0.02)


def make_film(target: Path, prompt: str, seed: int, fps: float) -> None:
    if "[empty]" in prompt:
        target.touch()
        return
    if "[text]" in prompt:
        target.write_text("no video")
        return
    frames = np.random.default_rng(seed).integers(0, 255, (8, 48, 64, 3), np.uint8)
    write_video(target, frames, fps)
    if "[partial]" in prompt:
        target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    if "[fails late]" in prompt:
        sys.exit(3)
    if "[hangs late]" in prompt:
        hang()
