"""Serves one of WoW's Wan models over pipes, in WoW's own environment, without importing TriBrain.

It loads the pipeline once, as WoW's ``demo/wan_infer_demo.py`` does. Then every line of standard input is a
request, ``{"id", "prompt", "seed", "image", "video", "log", "lock"}``, and every line of standard output a
message: ``ready``, ``progress`` (``id``, ``step``, ``steps``), ``done`` (``id``) or ``failed`` (``id``, null
if the pipeline could not be loaded, ``why``, and whether that ``ends`` this process). Output of libraries
goes to standard error until a request comes, and then to its ``log``. During a request its ``lock`` is held,
if that file exists. When standard input ends, which happens however the other side ends, this process and its
children end at once. Needs Python 3.10.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import IO, Any

NEGATIVE_PROMPT = "low quality, distorted, ugly, bad anatomy"
# WoW's own table: GB of a card, and GB of it that the transformer's parameters may occupy permanently. The
# rest is moved in for each step; on a smaller card than these, all parameters are.
PERSISTENT_GB = ((80, 70.0), (48, 42.0), (40, 35.0), (24, 20.0), (0, 0.0))
# A card is sold with a rounded size, and reports up to 5% less.
SHOWN_SHARE = 0.95
# Inputs of an image-to-video transformer: noise, the mask of the given frames, and these.
IMAGE_CHANNELS = 16 + 4 + 16
# Prefixes of the transformer's weights, depending on what trained it.
PREFIXES = ("", "dit.", "pipe.dit.", "model.", "module.", "module.dit.", "module.pipe.dit.")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The process's arguments, or those given. Raises SystemExit, and prints why, for wrong ones."""
    parser = argparse.ArgumentParser(
        description="Serves one of WoW's Wan models over pipes.", allow_abbrev=False
    )
    parser.add_argument("--diffsynth", required=True, help="folder of the package diffsynth")
    parser.add_argument("--base-model", required=True, help="folder of the Wan model that WoW fine-tuned")
    parser.add_argument("--transformer", required=True, help="files of its transformer, separated by commas")
    parser.add_argument(
        "--widen", action="store_true", help="a text-to-video transformer, which WoW trained to take an image"
    )
    parser.add_argument(
        "--checkpoint", required=True, help="WoW's trained weights: a file, or DeepSpeed's folder"
    )
    parser.add_argument(
        "--trust-checkpoint", action="store_true", help="read it with pickle, which can run code"
    )
    parser.add_argument("--lora", help="a LoRA from WoW's training, added to the weights")
    parser.add_argument("--lora-scale", type=float, default=1.0, help="its alpha over its rank")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument(
        "--persistent-gb",
        type=float,
        help="GB of the transformer's parameters that stay on the card; default: by its memory",
    )
    parser.add_argument(
        "--sharing", type=int, default=1, help="number of these processes that share the card"
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--num-frames", type=int, default=81)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--fps", type=int, default=16)
    parser.add_argument("--quality", type=int, default=5, help="quality of the encoded video, 0 to 10")
    parser.add_argument(
        "--no-tiles", action="store_true", help="decode whole frames, which takes more memory"
    )
    parser.add_argument("--negative-prompt", default=NEGATIVE_PROMPT)
    return parser.parse_args(given)


def main() -> int:
    given = arguments()
    replies = _own_output()
    requests = _requests()

    def say(kind: str, **what: Any) -> None:
        replies.write(json.dumps({"type": kind, **what}) + "\n")
        replies.flush()

    try:
        pipeline = load(given)
    except Exception as error:
        traceback.print_exc()
        say("failed", id=None, why=_in_short(error), ends=True)
        return 1
    say("ready")
    for request in iter(requests.get, None):
        with open(request["log"], "ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        try:
            with held(request["lock"]):
                generate(pipeline, given, request, say)
        except Exception as error:
            traceback.print_exc()
            lost = "CUDA error" in str(error)  # the device stays unusable for later requests
            say("failed", id=request["id"], why=_in_short(error), ends=lost)
            if lost:
                return 1
            import_module("torch").cuda.empty_cache()
        else:
            say("done", id=request["id"])
    return 0


def load(given: argparse.Namespace) -> Any:
    """The pipeline with WoW's weights."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [given.diffsynth, *(path for path in sys.path if os.path.abspath(path) != here)]
    torch, diffsynth = import_module("torch"), import_module("diffsynth")

    def base(name: str) -> str:
        return os.path.join(given.base_model, name)

    manager = diffsynth.ModelManager(device="cpu")
    manager.load_models(
        [base("models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth")], torch_dtype=torch.float32
    )
    parts = [base(name) for name in given.transformer.split(",")]
    manager.load_models(
        [
            parts if len(parts) > 1 else parts[0],
            base("models_t5_umt5-xxl-enc-bf16.pth"),
            base("Wan2.1_VAE.pth"),
        ],
        torch_dtype=torch.bfloat16,
    )
    model = manager.fetch_model("wan_video_dit")
    if model is None:
        raise RuntimeError(f"diffsynth found no Wan transformer in {given.base_model}")
    if given.widen:
        widen(torch, model)
    put_weights(
        torch,
        model,
        given.checkpoint,
        trust=given.trust_checkpoint,
        required=("patch_embedding.weight",) if given.widen else (),
    )
    if given.lora:
        add_lora(torch, manager, model, given.lora, given.lora_scale)
    pipeline = diffsynth.WanVideoPipeline.from_model_manager(
        manager, torch_dtype=torch.bfloat16, device=given.device
    )
    gb = given.persistent_gb
    if gb is None:
        gb = persistent_gb(torch.cuda.get_device_properties(given.device).total_memory) / given.sharing
    # The pipeline counts parameters, not bytes.
    n_parameters = int(gb * 10**9 / next(iter(model.parameters())).element_size())
    print(f"up to {gb:g} GB of the transformer's parameters stay on the card", flush=True)
    pipeline.enable_vram_management(num_persistent_param_in_dit=n_parameters)
    return pipeline


def persistent_gb(card_bytes: int) -> float:
    """GB of parameters for a card's memory, from the largest row of WoW's table that the card reaches."""
    return next(gb for card_gb, gb in PERSISTENT_GB if card_bytes >= SHOWN_SHARE * card_gb * 10**9)


def widen(torch: Any, model: Any) -> None:
    """Widen the transformer's input for an image; the checkpoint has the weights for it."""
    embedding = model.patch_embedding
    narrow = embedding.weight
    n_channels = narrow.shape[1]
    if n_channels < IMAGE_CHANNELS:
        wide = narrow.new_zeros((narrow.shape[0], IMAGE_CHANNELS, *narrow.shape[2:]))
        wide[:, :n_channels] = narrow
        embedding.weight = torch.nn.Parameter(wide, requires_grad=False)
        embedding.in_channels = IMAGE_CHANNELS
    model.has_image_input = True


def add_lora(torch: Any, manager: Any, model: Any, path: str, scale: float) -> None:
    """Add a LoRA to the weights. Raises RuntimeError for another model's, which diffsynth would ignore."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    names = set(model.state_dict())
    changed = {
        name.replace(".lora_B.default.", ".").replace(".lora_B.", ".") for name in state if ".lora_B." in name
    }
    if not changed:
        raise RuntimeError(f"{path} holds no LoRA")
    if unknown := changed - names:
        raise RuntimeError(
            f"{path} is a LoRA of another model: it changes {min(unknown)}, and {len(unknown)} of the "
            f"{len(changed)} weights that it changes are not Wan's"
        )
    manager.load_lora(path, state_dict=state, lora_alpha=scale)
    print(f"{len(changed)} weights are changed by {path}", flush=True)


def put_weights(
    torch: Any, model: Any, checkpoint: str, *, trust: bool, required: Sequence[str] = ()
) -> None:
    """Load the trained weights. Refuses a checkpoint with none of the model's names or without ``required``.

    Like the demo, it loads them without ``strict``. That alone would ignore a checkpoint whose names all
    differ, and keep the untrained model.
    """
    if os.path.isdir(checkpoint):
        checkpoint = os.path.join(checkpoint, "checkpoint", "mp_rank_00_model_states.pt")
    if not os.path.exists(checkpoint):
        raise FileNotFoundError(f"the checkpoint {checkpoint} does not exist")
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=not trust)
    except Exception as error:
        if trust:
            raise
        raise RuntimeError(
            f"{checkpoint} cannot be read as weights alone ({_in_short(error)}); "
            "if you trust it, add --wow-extra-args --trust-checkpoint"
        ) from error
    if not isinstance(state, dict):
        raise RuntimeError(f"{checkpoint} holds no weights by name, but a {type(state).__name__}")
    for wrapper in ("module", "state_dict"):
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    names = set(model.state_dict())
    fitting = [
        {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        for prefix in PREFIXES
    ]
    best = max(fitting, key=lambda weights: len(names & set(weights)))
    n_found = len(names & set(best))
    if n_found == 0:
        raise RuntimeError(f"{checkpoint} has none of the {len(names)} weights of Wan's transformer")
    for name in required:
        if name not in best:
            raise RuntimeError(f"{checkpoint} has no {name}, which takes the image")
    print(f"{n_found} of {len(names)} weights are from {checkpoint}", flush=True)
    model.load_state_dict(best, strict=False)


@contextlib.contextmanager
def held(lock: str) -> Iterator[None]:
    """Hold an existing lock; the request that started this process already has it."""
    try:
        file = open(lock, "rb")  # noqa: SIM115
    except FileNotFoundError:
        yield
        return
    with file:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def generate(
    pipeline: Any, given: argparse.Namespace, request: dict[str, Any], say: Callable[..., None]
) -> None:
    def progress_bar(timesteps: Iterable[Any]) -> Iterator[Any]:
        steps = list(timesteps)
        for step, timestep in enumerate(steps, start=1):
            yield timestep
            say("progress", id=request["id"], step=step, steps=len(steps))

    frames = pipeline(
        prompt=request["prompt"],
        negative_prompt=given.negative_prompt,
        input_image=_image(request["image"]),
        num_inference_steps=given.steps,
        seed=request["seed"],
        tiled=not given.no_tiles,
        num_frames=given.num_frames,
        width=given.width,
        height=given.height,
        progress_bar_cmd=progress_bar,
    )
    import_module("diffsynth").save_video(frames, request["video"], fps=given.fps, quality=given.quality)


def _image(path: str) -> Any:
    """An image, or the first frame of a video."""
    pil = import_module("PIL.Image")
    if not path.lower().endswith(".mp4"):
        return pil.open(path).convert("RGB")
    cv2 = import_module("cv2")
    video = cv2.VideoCapture(path)
    found, frame = video.read()
    video.release()
    if not found:
        raise RuntimeError(f"{path} has no first frame")
    return pil.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


def _own_output() -> IO[str]:
    """Standard output, reserved for messages; prints by libraries go to standard error from now on."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _requests() -> queue.Queue[dict[str, Any]]:
    """Incoming requests, read in a separate thread so that the end is noticed during a generation too."""
    requests: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        # Unbuffered: a buffer's lock would abort Python when it exits while this thread reads.
        for line in os.fdopen(0, "rb", buffering=0, closefd=False):
            requests.put(json.loads(line))
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return requests


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
