"""The README of an adapter: what it is, how good it was shown to be, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NATIVE = """\
```python
from peft import AutoPeftModelForSequenceClassification

model = AutoPeftModelForSequenceClassification.from_pretrained(FOLDER, num_labels=1).eval()
{padding}```

It also serves as the reward model of TRL's trainers.
"""
_PADDING = "model.config.pad_token_id = {pad}\n"
_OF_OUR_OWN = {
    "candidate": "The goal's tokens see each other alone, the candidate's see both and are averaged",
    "mean": "The tokens of goal and candidate are averaged",
}
_TRIBRAIN = """\
```python
from pathlib import Path

from trainers.lora.scorer import open_reward

rewards = open_reward(Path(FOLDER)).rewards([("the goal", "a candidate"), ("the goal", "another")])
```
"""


def model_card(reward: Mapping[str, Any], notes: Sequence[str], pad_id: int, *, plot: str = "") -> str:
    """Markdown; ``reward`` is the content of ``reward.json``, ``plot`` a picture beside it."""
    base, pairs, adapter = reward["base_model"], reward["pairs"], reward["adapter"]
    metrics = reward["metrics"]
    rows = "\n".join(
        f"| {name} | {of['accuracy']:.3f} {_interval(of['accuracy_ci95'])} "
        f"| {of['log_loss']:.3f} {_interval(of['log_loss_ci95'])} | {of['ece']:.3f} |"
        for name, of in metrics["models"].items()
    )
    decoder = base["model_type"] not in ("bert", "distilbert", "roberta", "deberta-v2", "modernbert")
    if reward["pooling"] == "native":
        load = _NATIVE.format(padding=_PADDING.format(pad=pad_id) if decoder else "")
    else:
        how = _OF_OUR_OWN[reward["pooling"]]
        load = f"{how}, which no class of Transformers does, so load it with TriBrain:\n"
    load += "\n" + _TRIBRAIN
    picture = f"\n![training]({plot})\n" if plot else ""
    said = "\n".join(f"- {note}" for note in notes)
    return f"""---
library_name: peft
base_model: {base["name"]}
tags: [reward-model, lora]
---

# Text reward model {reward["model"]}

A LoRA adapter ({adapter["bytes"]:,} bytes) that predicts which of two texts for a goal is preferred:
P(a ≻ b) = σ(r(goal, a) − r(goal, b)). Base model: {base["name"]} ({base["model_type"]}, weights' SHA-256
{base["sha256"]}).

## How good it is

On {pairs["held_out"]} held-out pairs of {pairs["held_out_tasks"]} tasks, after {pairs["train"]} training
pairs; brackets are 95% intervals of a bootstrap over tasks:

| model | accuracy | log loss | ECE |
|---|---|---|---|
{rows}

{metrics["statement"]}

{said}
{picture}
## How to load it

{load}
The goal comes first and the candidate second, as a pair of texts, in at most {reward["length"]} tokens;
longer pairs are cut from the beginning of the goal.
"""


def _interval(ends: Sequence[float] | None) -> str:
    if ends is None:  # of one task
        return ""
    low, high = ends
    return f"[{low:.3f}, {high:.3f}]"
