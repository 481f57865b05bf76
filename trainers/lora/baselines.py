"""What costs seconds and has to be beaten: length, character n-grams, and chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from trainers.lora.texts import TextPair

Array = NDArray[np.float64]

LENGTH, TFIDF, CHANCE = "text length", "character TF-IDF", "chance"


def baselines(train: Sequence[TextPair], held_out: Sequence[TextPair]) -> dict[str, Array]:
    """P(chosen ≻ rejected) (n,) of the held-out pairs for each baseline, all learnt on the training part."""
    weights = np.array([pair.weight for pair in train])
    return {
        TFIDF: _fit_and_predict(_grams(train, held_out), weights),
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


def _fit_and_predict(parts: tuple[csr_matrix, csr_matrix], weights: Array) -> Array:
    """Logistic regression without intercept, on each pair and its mirror image."""
    train, held_out = parts
    model = LogisticRegression(fit_intercept=False, max_iter=1000)
    labels = np.repeat([1, 0], train.shape[0])
    model.fit(vstack([train, -train]), labels, np.concatenate([weights, weights]))
    return np.asarray(model.predict_proba(held_out)[:, 1])
