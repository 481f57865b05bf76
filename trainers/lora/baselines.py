"""Cheap baselines that an adapter must beat: length, character n-grams (batch and online), and chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from streams.messages.contracts import PreferencePair
from trainers.lora.texts import TextPair
from trainers.text.reward import NgramReward
from trainers.text.train import train_on_texts

Array = NDArray[np.float64]

LENGTH, TFIDF, ONLINE, CHANCE = "text length", "character TF-IDF", "online n-grams", "chance"


def baselines(train: Sequence[TextPair], held_out: Sequence[TextPair]) -> dict[str, Array]:
    """P(chosen ≻ rejected) (n,) of the held-out pairs for each baseline, all trained on the training part."""
    weights = np.array([pair.weight for pair in train])
    return {
        TFIDF: _fit_and_predict(_grams(train, held_out), weights),
        ONLINE: _learn_and_predict(train, held_out),
        LENGTH: _fit_and_predict((_lengths(train), _lengths(held_out)), weights),
        CHANCE: np.full(len(held_out), 0.5),
    }


def _lengths(pairs: Sequence[TextPair]) -> csr_matrix:
    """(n, 1): chosen − rejected in hundreds of characters."""
    return csr_matrix([[(len(pair.chosen) - len(pair.rejected)) / 100.0] for pair in pairs])


def _grams(train: Sequence[TextPair], held_out: Sequence[TextPair]) -> tuple[csr_matrix, csr_matrix]:
    """Chosen − rejected of the candidates' 3–5-grams within words, 1 + log tf, L2-normalised."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectorizer.fit([text for pair in train for text in (pair.chosen, pair.rejected)])
    known, unseen = (
        vectorizer.transform([pair.chosen for pair in part])
        - vectorizer.transform([pair.rejected for pair in part])
        for part in (train, held_out)
    )
    return known, unseen


def _learn_and_predict(train: Sequence[TextPair], held_out: Sequence[TextPair]) -> Array:
    """Predictions of ``tribrain reward train-text`` after one pass over the training part."""
    reward = NgramReward(train_on_texts([_as_labelled(pair) for pair in train]))
    goals, chosen, rejected = zip(*((p.goal, p.chosen, p.rejected) for p in held_out), strict=True)
    return reward.prob_prefer(goals, chosen, rejected)


def _as_labelled(pair: TextPair) -> PreferencePair:
    """The pair as a person's label, because its weight already includes that of its label source."""
    return PreferencePair(
        task_id=pair.task,
        label_source="human",
        weight=pair.weight,
        goal_instruction=pair.goal,
        chosen_prompt=pair.chosen,
        rejected_prompt=pair.rejected,
        chosen_critics={},
        rejected_critics={},
    )


def _fit_and_predict(parts: tuple[csr_matrix, csr_matrix], weights: Array) -> Array:
    """Logistic regression without intercept, on each pair and its mirror image."""
    train, held_out = parts
    model = LogisticRegression(fit_intercept=False, max_iter=1000)
    labels = np.repeat([1, 0], train.shape[0])
    model.fit(vstack([train, -train]), labels, np.concatenate([weights, weights]))
    return np.asarray(model.predict_proba(held_out)[:, 1])
