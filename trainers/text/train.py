"""Trains a text reward model from pairs files, by feeding the live learner from a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from streams.errors import BadInput, counted
from streams.messages.contracts import PairMessage, PreferencePair, TextSnapshot
from trainers.pairs.judgements import dimension_of, lacks_a_text
from trainers.text.learner import TextLearner, task_name


def train_on_texts(
    messages: Sequence[PairMessage],
    *,
    model: str = "default",
    on_progress: Callable[[int], None] = lambda _: None,
) -> TextSnapshot:
    """One honest pass in the given order: a task is predicted, and learnt with its last pair.

    Raises BadInput if no pair is for ``model``, or if none has two different texts that are not empty.
    """
    of_any = [message for message in messages if isinstance(message, PreferencePair)]
    of_model = [pair for pair in of_any if pair.model == model]
    pairs = [pair for pair in of_model if not dimension_of(pair)]
    if of_any and not of_model:
        names = ", ".join(sorted({repr(pair.model) for pair in of_any}))
        found = counted(len(of_any), "pair")
        raise BadInput(f"found {found}, none for the model {model!r}; give --model: {names}")
    if of_any and not pairs:
        raise BadInput(
            f"found {counted(len(of_any), 'pair')}, each on one dimension, but a text reward needs overall "
            "judgements; expected pairs without a dimension"
        )
    decided = [pair for pair in pairs if pair.weight > 0 and not pair.tie]
    if not any(pair.chosen_prompt != pair.rejected_prompt and not lacks_a_text(pair) for pair in decided):
        raise BadInput(
            f"nothing to learn from: found {counted(len(pairs), 'pair')}, none with two different texts, "
            "neither of them empty, a weight above 0 and no tie; expected chosen_prompt and rejected_prompt "
            "that differ"
        )
    learner = TextLearner(model, pairs_of_task=Counter(task_name(pair) for pair in pairs if not pair.tie))
    for message in messages:
        learner.on_message(message)
        on_progress(1)
    learner.finish()
    return learner.snapshot()
