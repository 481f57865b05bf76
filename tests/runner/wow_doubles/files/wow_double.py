"""What the stand-ins share. A prompt may ask for a fault by a word in brackets, such as ``[crash]``."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import cv2
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
    note("needs", path=os.path.realpath(path))


def needs_encoder(folder: str) -> None:
    """A T5, as transformers loads it, and its tokenizer."""
    needs(f"{folder}/config.json")
    needs_any(folder, "*.safetensors", "pytorch_model*.bin")
    needs_any(folder, "tokenizer.json", "spiece.model")


def needs_any(folder: str, *patterns: str) -> None:
    found = [path for pattern in patterns for path in Path(folder).glob(pattern)]
    if not found:
        raise FileNotFoundError(f"none of {', '.join(patterns)} is in {folder}")
    if len(found) == 1:
        needs(str(found[0]))


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
    """A real video of its seed, or what the prompt asks for instead; noted once it is there.

    Unless ``hold.json`` holds it up, ``{"after", "how", "prompt"}``: when so many films are made, one whose
    prompt has this in it waits. ``how``: for good "before" it is begun, or at "half" of it, or "until" that
    file is gone.
    """
    target = Path(path)
    with (REPO / "films.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that none is made between counting and this one
        hold = hold_for(prompt)
        if hold is None:
            make_film(target, prompt, seed, fps)
            note("film", prompt=prompt, seed=seed)
            return
    if hold == "half":
        make_film(target, prompt, seed, fps)
        target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    note("held up")
    while hold != "until" or hold_for(prompt):
        time.sleep(0.02)
    make_film(target, prompt, seed, fps)
    note("film", prompt=prompt, seed=seed)


def hold_for(prompt: str) -> str | None:
    try:
        asked = json.loads((REPO / "hold.json").read_text())
    except FileNotFoundError:
        return None
    made = sum(json.loads(line)["what"] == "film" for line in (REPO / "calls.jsonl").open())
    return asked["how"] if made >= asked["after"] and asked["prompt"] in prompt else None


def make_film(target: Path, prompt: str, seed: int, fps: float) -> None:
    if "[empty]" in prompt:
        target.touch()
        return
    if "[text]" in prompt:
        target.write_text("no video")
        return
    frames = np.random.default_rng(seed).integers(0, 255, (8, 48, 64, 3), np.uint8)
    if "[smooth]" in prompt:
        picture = cv2.resize(frames[0, :6, :8], (64, 48), interpolation=cv2.INTER_CUBIC)
        frames = np.stack([np.roll(picture, t, axis=1) for t in range(8)]).astype(np.uint8)
    write_video(target, frames, fps)
    if "[fragments]" in prompt:
        put_in_fragments(target)
    if "[partial]" in prompt:
        target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    if "[fails late]" in prompt:
        sys.exit(3)
    if "[hangs late]" in prompt:
        hang()


def put_in_fragments(path: Path) -> None:
    """As a program that streams writes it: whole after each of them."""
    beside = path.with_suffix(".tmp.mp4")
    flags = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(path)) as source, av.open(str(beside), "w", options=flags) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    beside.replace(path)
