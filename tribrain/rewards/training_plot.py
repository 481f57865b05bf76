"""The picture of a text reward model's training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.errors import counted
from tribrain.figures.plots import CRITICS, MODEL, Picture, new_figure, plain, png


def training_plot(history: Mapping[str, Any], baselines: Mapping[str, float]) -> Picture:
    """Left: the loss over the steps; right: the held-out accuracy beside that of the baselines.

    ``history`` is that of ``reward.json``; ``baselines`` are their held-out accuracies.
    """
    figure = new_figure(9.6, 3.8)
    left, right = figure.subplots(1, 2)
    held_out = history["held_out"]
    steps = [one["step"] for one in held_out]
    for axes in (left, right):
        plain(axes)
        axes.set_xlabel("step")
    left.plot(*zip(*history["loss"], strict=True), color=MODEL, linewidth=1.2, label="training")
    left.plot(steps, [one["log_loss"] for one in held_out], color=CRITICS, marker="o", label="held out")
    left.set_ylabel("log loss, nats")
    left.legend(frameon=False, fontsize=9)
    accuracies = [one["accuracy"] for one in held_out]
    right.plot(steps, accuracies, color=MODEL, marker="o", label="LoRA")
    for (name, accuracy), style in zip(baselines.items(), ("--", "-.", ":"), strict=False):
        right.axhline(accuracy, color="#555555", linestyle=style, linewidth=1.2, label=name)
    right.set_ylabel("held-out accuracy")
    right.legend(frameon=False, fontsize=9)
    last = held_out[-1]
    return Picture(
        png(figure),
        f"Line charts over {counted(last['step'], 'step')}; "
        f"at the end the held-out accuracy is {last['accuracy']:.3f}.",
    )
