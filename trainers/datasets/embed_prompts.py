"""Makes T5 embeddings for a wow-dit-2b dataset with WoW's own text encoder.

This file is self-contained and lies in the dataset's folder. Run it with WoW's Python, in the folder
dit_models/wow-dit-2b of WoW, which has the encoder's weights below checkpoints:

    PYTHONPATH=. python DATASET/embed_prompts.py

For each metas/ID.txt of each split it writes t5_xxl/ID.pickle, a list with one array (tokens, 1024) of
float16, as WoW's cosmos_predict2/data/dataset_video.py reads it. Existing files are kept.
"""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description="T5 embeddings of the captions of a wow-dit-2b dataset.")
    parser.add_argument("--t5", default="checkpoints/google-t5/t5-11b", help="folder of T5's weights")
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    waiting = [
        (prompt, prompt.parent.parent / "t5_xxl" / f"{prompt.stem}.pickle")
        for prompt in sorted(Path(__file__).resolve().parent.glob("*/metas/*.txt"))
    ]
    waiting = [(prompt, target) for prompt, target in waiting if not target.exists()]
    if not waiting:
        print("every caption has its embedding")
        return

    from cosmos_predict2.auxiliary.text_encoder import (  # type: ignore[import-not-found]
        CosmosT5TextEncoder,
    )

    encoder = CosmosT5TextEncoder(device=given.device, cache_dir=given.t5, local_files_only=True)
    for number, (prompt, target) in enumerate(waiting, start=1):
        text = prompt.read_text(encoding="utf-8").strip()
        encoded, mask = encoder.encode_prompts(text, max_length=512, return_mask=True)
        n_tokens = int(mask[0].sum())
        array = encoded[0][:n_tokens].float().cpu().numpy().astype("float16")
        target.parent.mkdir(exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        with beside.open("wb") as file:
            pickle.dump([array], file)
        beside.replace(target)
        print(f"{number} of {len(waiting)}: {target.name}, {n_tokens} tokens", flush=True)


if __name__ == "__main__":
    main()
