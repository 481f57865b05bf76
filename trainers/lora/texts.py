"""Pairs as texts: which count, their weights, which are held out, and what could flatter a model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from streams.errors import BadInput, counted
from streams.messages.contracts import TRUSTED_SOURCES, PreferencePair
from trainers.evidence.proxies import label_weights
from trainers.pairs.judgements import dimension_of, lacks_a_text
from trainers.pairs.weights import task_of_text

HELD_OUT_ALWAYS = 0.2
"""Fraction of the tasks that no periodic training learns from; fixed, as a change would mix the parts."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two candidates for one goal; the first was preferred."""

    task: str
    goal: str
    chosen: str
    rejected: str
    source: str
    weight: float
    """Weight in the loss: the pair's own weight times that of its label source."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The pairs to learn from, and what was left out."""

    pairs: tuple[TextPair, ...]
    sources: tuple[str, ...]
    """Label sources in use."""
    why_sources: str
    """The reason in words, for users."""
    n_others: int
    """Pairs with other label sources, or on one dimension."""
    n_empty: int
    """Pairs with a missing or blank text."""
    n_equal: int
    """Pairs of two equal texts, which teach nothing."""
    n_ties: int
    """Ties, which are not learnt."""


@dataclass(frozen=True, slots=True)
class TextChecks:
    """How far memorising single texts could pass for quality."""

    one_sided_texts: int
    """Candidates of the training part that occur at least twice, always on the same side."""
    one_sided_pairs: int
    """Training pairs with one of those."""
    shared_texts: int
    """Candidates that occur in both parts."""
    shared_held_out_pairs: int
    """Held-out pairs with one of those."""


def select(pairs: Sequence[PreferencePair], sources: Sequence[str] = ()) -> Selected:
    """Pairs with these label sources; by default the trusted ones if there are any, else all.

    Raises BadInput if nothing is left to learn from.
    """
    counts = Counter(pair.label_source for pair in pairs if not dimension_of(pair))
    trusted = tuple(source for source in sorted(counts) if source in TRUSTED_SOURCES)
    used = tuple(dict.fromkeys(sources)) or trusted or tuple(sorted(counts))
    if sources:
        why = f"label sources {', '.join(used)}, as given"
    elif trusted:
        why = f"label sources {', '.join(used)}, as they are trusted"
    else:
        why = f"label sources {', '.join(used)}: none is trusted, so all are used"
    of_source = [pair for pair in pairs if pair.label_source in used and not dimension_of(pair)]
    decided = [pair for pair in of_source if not pair.tie]
    written = [pair for pair in decided if not lacks_a_text(pair)]
    texts = tuple(
        TextPair(
            task=task_of_text(pair),
            goal=pair.goal_instruction,
            chosen=pair.chosen_prompt,
            rejected=pair.rejected_prompt,
            source=pair.label_source,
            weight=weight,
        )
        for pair, weight in zip(written, label_weights(written), strict=True)
        if pair.chosen_prompt != pair.rejected_prompt
    )
    if not any(pair.weight > 0 for pair in texts):
        found = ", ".join(f"{n} {source}" for source, n in sorted(counts.items())) or "no pairs"
        raise BadInput(
            f"nothing to learn from: found {found}, of which {len(of_source)} are of the label sources "
            f"{', '.join(used) or 'asked for'}, {len(decided)} are no ties, {len(written)} have two texts, "
            f"none of them empty, and {len(texts)} two different ones; expected chosen_prompt and "
            "rejected_prompt that differ, with a weight above 0"
        )
    return Selected(
        texts,
        used,
        why,
        n_others=len(pairs) - len(of_source),
        n_empty=len(decided) - len(written),
        n_equal=len(written) - len(texts),
        n_ties=len(of_source) - len(decided),
    )


def split_by_task(
    pairs: Sequence[TextPair], fraction: float, seed: int
) -> tuple[list[TextPair], list[TextPair]]:
    """Training and held-out part, each in the given order; no task is in both.

    Task names and the seed alone decide which tasks are held out. Raises BadInput for a single task.
    """
    tasks = sorted({pair.task for pair in pairs}, key=lambda task: _digest(f"{seed}:{task}"))
    if len(tasks) < 2:
        raise BadInput(
            f"found {counted(len(pairs), 'pair')} of a single task, and one task has to be held out; "
            "expected pairs of two tasks or more"
        )
    n_held_out = min(max(round(fraction * len(tasks)), 1), len(tasks) - 1)
    held_out = set(tasks[:n_held_out])
    train = [pair for pair in pairs if pair.task not in held_out]
    if not any(pair.weight > 0 for pair in train):
        raise BadInput("no pair that is left for training has a weight above 0; give another --seed")
    return train, [pair for pair in pairs if pair.task in held_out]


def is_held_out(task: str) -> bool:
    """Whether a task, one in five, is held out from every adapter that is ever trained.

    Unlike ``split_by_task`` it ignores the other tasks, so that a held-out task stays one.
    """
    return int(_digest(f"held out:{task}")[:8], 16) < HELD_OUT_ALWAYS * 16**8


def check(train: Sequence[TextPair], held_out: Sequence[TextPair]) -> TextChecks:
    """Counts that could make the figures optimistic."""
    chosen = Counter(pair.chosen for pair in train)
    rejected = Counter(pair.rejected for pair in train)
    one_sided = {text for text, n in chosen.items() if n > 1 and text not in rejected}
    one_sided |= {text for text, n in rejected.items() if n > 1 and text not in chosen}
    known = chosen.keys() | rejected.keys()
    shared = {text for pair in held_out for text in (pair.chosen, pair.rejected) if text in known}
    return TextChecks(len(one_sided), _with_any(train, one_sided), len(shared), _with_any(held_out, shared))


def pairs_sha256(train: Iterable[TextPair], held_out: Iterable[TextPair]) -> str:
    """SHA-256 (hex) of everything that is learnt from and measured on, in order."""
    digest = hashlib.sha256()
    for part, pairs in (("train", train), ("held-out", held_out)):
        for pair in pairs:
            line = [part, pair.task, pair.goal, pair.chosen, pair.rejected, pair.source, pair.weight]
            digest.update(orjson.dumps(line) + b"\n")
    return digest.hexdigest()


def _with_any(pairs: Sequence[TextPair], texts: set[str]) -> int:
    return sum(pair.chosen in texts or pair.rejected in texts for pair in pairs)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
