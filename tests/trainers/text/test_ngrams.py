"""Texts as hashed n-grams: scikit-learn's own n-grams, and the same numbers everywhere."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from streams.errors import BadInput
from trainers.text import ngrams
from trainers.text.ngrams import BUCKETS, LENGTH, LENGTH_SCALE, SCHEME, bucket_of, check_scheme, grams
from trainers.text.terms import Terms

TEXTS = ("Move the red cube.", "a  b\tcd\n", "Ünïcödé — 猫を動かす 🐈", "x" * 40, "ab", "İstanbul ıs")


@pytest.mark.parametrize("text", TEXTS)
def test_the_ngrams_are_those_of_scikit_learn(text: str) -> None:
    analyse = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).build_analyzer()
    expected = Counter(bucket_of(gram) for gram in analyse(text))
    buckets, terms = grams(text)
    assert list(buckets) == sorted(expected)
    assert list(terms) == [1.0 + math.log(expected[int(bucket)]) for bucket in buckets]


def test_a_blank_text_has_none() -> None:
    for blank in ("", "  \n\t "):
        assert [len(part) for part in grams(blank)] == [0, 0]


def test_the_hash_is_fnv_1a_with_the_last_step_of_murmurhash3() -> None:
    def fnv_then_mix(text: str) -> int:
        h = 2166136261
        for c in text:
            h = (h ^ ord(c)) * 16777619 % 2**32
        h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
        h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
        return (h ^ h >> 16) % BUCKETS

    rng = random.Random(1)
    for _ in range(200):
        text = "".join(chr(rng.randrange(1, 0xD800)) for _ in range(rng.randrange(12)))
        assert bucket_of(text) == fnv_then_mix(text)


def test_buckets_do_not_change_from_version_to_version() -> None:
    assert [bucket_of(gram) for gram in ("cat", " 猫 ", "")] == [118428, 117873, 162827]


def test_differences_are_those_of_tf_idf_with_unit_length() -> None:
    texts = ["move the red cube", "move the blue ball to the bowl", "please move it"]
    terms = Terms()
    for text in texts:
        terms.see(grams(text))
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit(texts)
    rows = vectorizer.transform(texts[:2]).toarray()
    expected = {
        bucket_of(gram): rows[0, column] - rows[1, column]
        for gram, column in vectorizer.vocabulary_.items()
        if rows[0, column] or rows[1, column]
    }
    expected[LENGTH] = LENGTH_SCALE * (math.log(1 + (rows[0] > 0).sum()) - math.log(1 + (rows[1] > 0).sum()))
    at, x = terms.difference(grams(texts[0]), grams(texts[1]))
    assert dict(zip(at.tolist(), x.tolist(), strict=True)) == pytest.approx(expected, abs=1e-12)
    assert list(at) == sorted(expected)


def test_counts_come_back_from_their_state() -> None:
    terms = Terms()
    for n in range(300):
        terms.see(grams(f"the cube number {n}"))
    again = Terms.from_state(terms.state())
    assert again.state() == terms.state()
    gram = grams("another cube")
    assert np.array_equal(again.features(gram)[1], terms.features(gram)[1])


def test_another_scheme_is_refused_with_what_differs() -> None:
    check_scheme(SCHEME, "m.json")
    with pytest.raises(BadInput, match=r"m\.json: scheme\.most is 6; this version reads 5: train the model"):
        check_scheme({**SCHEME, "most": 6}, "m.json")


def test_the_scheme_says_what_the_code_does() -> None:
    assert (SCHEME["least"], SCHEME["most"]) == (ngrams.LEAST, ngrams.MOST)
    assert SCHEME["buckets"] == BUCKETS == 2**18
