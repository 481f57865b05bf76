from __future__ import annotations

import json
from codecs import BOM_UTF8
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.loop.controller import (
    FAILURE_MODES,
    FEATURES,
    Prior,
    ThompsonController,
    Vector,
    belief_probs,
    context_features,
)
from runner.loop.refiner import ARMS, MAX_PROMPT_CHARS, Arm
from streams.errors import BadInput

D = len(FEATURES)
K = len(ARMS)

fused = st.dictionaries(st.sampled_from(FAILURE_MODES), st.none() | st.floats(0.0, 1.0))


def taught(rounds: int, seed: int = 0, prior: Prior | None = None) -> ThompsonController:
    rng = np.random.default_rng(seed)
    controller = ThompsonController(prior)
    for _ in range(rounds):
        controller.update(rng.random(D), ARMS[rng.integers(K)], rng.normal(0.0, 0.1))
    return controller


def joint_row(x: Vector, arm: Arm) -> Vector:
    """The features of (θ, δ_1, …, δ_K) as one long vector, shape (D + K·D,)."""
    row = np.zeros(D + K * D)
    row[:D] = x
    start = D * (1 + ARMS.index(arm))
    row[start : start + D] = x
    return row


@given(fused, st.integers(0, 1000), st.integers(0, MAX_PROMPT_CHARS))
def test_every_feature_is_between_0_and_1(scores: dict[str, float | None], plateau: int, chars: int) -> None:
    x = context_features(scores, plateau_steps=plateau, prompt_chars=chars)
    assert x.shape == (D,)
    assert ((x >= 0) & (x <= 1)).all()


def test_a_missing_score_is_imputed_and_flagged() -> None:
    x = dict(
        zip(
            FEATURES,
            context_features({"task": None, "quality": 0.5}, plateau_steps=1, prompt_chars=0),
            strict=True,
        )
    )
    assert (x["task.deficit"], x["task.missing"]) == (0.5, 1.0)
    assert (x["quality.deficit"], x["quality.missing"]) == (0.5, 0.0)
    assert x["plateau"] == 0.5


@given(st.dictionaries(st.sampled_from(FAILURE_MODES), st.none() | st.floats(0.0, 1.0), min_size=1))
def test_beliefs_are_a_distribution_over_the_modes(scores: dict[str, float | None]) -> None:
    beliefs = belief_probs(scores)
    assert beliefs.keys() == scores.keys()
    assert sum(beliefs.values()) == pytest.approx(1.0)


def test_the_worst_mode_is_the_likeliest_to_be_wrong() -> None:
    beliefs = belief_probs({"task": 0.1, "quality": 0.9, "physics": None})
    assert beliefs["task"] > beliefs["physics"] > beliefs["quality"]


def test_the_posterior_mean_is_ridge_regression_on_all_parameters_at_once() -> None:
    prior = Prior(shared_scale=0.3, arm_scale=0.2, noise=0.15)
    rng = np.random.default_rng(1)
    controller = ThompsonController(prior)
    rows, rewards = [], []
    for _ in range(60):
        x, arm, r = rng.random(D), ARMS[rng.integers(K)], rng.normal(0.0, 0.3)
        controller.update(x, arm, r)
        rows.append(joint_row(x, arm))
        rewards.append(r)
    X, y = np.array(rows), np.array(rewards)
    penalty = np.concatenate([np.full(D, prior.shared_scale**-2.0), np.full(K * D, prior.arm_scale**-2.0)])
    ridge = np.linalg.solve(X.T @ X + prior.noise**2 * np.diag(penalty), X.T @ y)
    shared, residuals = controller.mean()
    np.testing.assert_allclose(np.concatenate([shared, *(residuals[a] for a in ARMS)]), ridge, atol=1e-10)


def test_samples_have_the_covariance_of_the_joint_posterior() -> None:
    """Through the choices: each arm is chosen as often as the joint Gaussian says that it is the best."""
    controller, x = taught(40), np.full(D, 0.5)
    prior = controller.prior
    precision = np.diag(
        np.concatenate([np.full(D, prior.shared_scale**-2.0), np.full(K * D, prior.arm_scale**-2.0)])
    )
    rng = np.random.default_rng(0)
    for _ in range(40):  # the same data as ``taught``
        row = joint_row(rng.random(D), ARMS[rng.integers(K)])
        rng.normal(0.0, 0.1)
        precision += np.outer(row, row) / prior.noise**2
    shared, residuals = controller.mean()
    mean = np.concatenate([shared, *(residuals[a] for a in ARMS)])
    draws = np.random.default_rng(2).multivariate_normal(mean, np.linalg.inv(precision), size=20_000)
    values = draws @ np.array([joint_row(x, arm) for arm in ARMS]).T
    expected = np.bincount(values.argmax(axis=1), minlength=K) / len(draws)
    chooser = np.random.default_rng(3)
    chosen = [ARMS.index(controller.choose(x, chooser)) for _ in range(2000)]
    np.testing.assert_allclose(np.bincount(chosen, minlength=K) / 2000, expected, atol=0.04)


def test_the_order_of_updates_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    lessons = [(rng.random(D), ARMS[rng.integers(K)], rng.normal()) for _ in range(30)]
    forwards, backwards = ThompsonController(), ThompsonController()
    for lesson in lessons:
        forwards.update(*lesson)
    for lesson in reversed(lessons):
        backwards.update(*lesson)
    np.testing.assert_allclose(forwards.mean()[0], backwards.mean()[0], atol=1e-9)


def test_what_all_arms_share_is_not_held_against_one() -> None:
    """An arm that failed when nothing could succeed is expected to be no worse than one not tried."""
    bad_moment = context_features({}, plateau_steps=9, prompt_chars=1000)
    one, all_ = ThompsonController(), ThompsonController()
    for _ in range(20):
        one.update(bad_moment, "task", -0.3)
        for arm in ARMS:
            all_.update(bad_moment, arm, -0.3)
    blame = {c: float(bad_moment @ c.mean()[1]["task"]) for c in (one, all_)}
    assert blame[one] < blame[all_] < 0


def play(controller: ThompsonController | None, rounds: int, seed: int) -> float:
    """Mean gain where the arm of the worst mode helps and others hurt; ``None`` plays at random."""
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(rounds):
        scores = {mode: float(rng.random()) for mode in FAILURE_MODES}
        x = context_features(scores, plateau_steps=0, prompt_chars=500)
        arm = controller.choose(x, rng) if controller else ARMS[rng.integers(K)]
        help_ = 0.3 * (0.5 - scores[arm]) if arm != "minimal" else -0.05
        gain = help_ + rng.normal(0.0, 0.05)
        if controller:
            controller.update(x, arm, gain)
        gains.append(gain)
    return float(np.mean(gains[rounds // 2 :]))


def test_within_200_rounds_it_fixes_what_is_broken_and_chance_does_not() -> None:
    learnt = [play(ThompsonController(), 200, seed) for seed in range(5)]
    chance = [play(None, 200, seed) for seed in range(5)]
    assert min(learnt) > max(chance) + 0.03


def test_the_same_seed_chooses_the_same() -> None:
    a, b = taught(20), taught(20)
    x, rng_a, rng_b = np.full(D, 0.3), np.random.default_rng(5), np.random.default_rng(5)
    assert [a.choose(x, rng_a) for _ in range(20)] == [b.choose(x, rng_b) for _ in range(20)]


def test_a_saved_controller_continues_bit_for_bit(tmp_path: Path) -> None:
    straight = taught(25, prior=Prior(noise=0.07))
    straight.save(tmp_path / "a.json")
    resumed = ThompsonController.load(tmp_path / "a.json")
    rng_a, rng_b = np.random.default_rng(6), np.random.default_rng(6)
    for step in range(20):
        x = np.random.default_rng(step).random(D)
        arm, other = straight.choose(x, rng_a), resumed.choose(x, rng_b)
        assert arm == other
        straight.update(x, arm, 0.01 * step)
        resumed.update(x, arm, 0.01 * step)
    straight.save(tmp_path / "straight.json")
    resumed.save(tmp_path / "resumed.json")
    assert (tmp_path / "straight.json").read_bytes() == (tmp_path / "resumed.json").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:-10],
        lambda raw: b"[]",
        lambda raw: raw.replace(b'"rounds":3', b'"rounds":4'),
        lambda raw: raw.replace(b"controller/1", b"controller/9"),
        lambda raw: raw.replace(b"physics", b"physic\xff"),
    ],
    ids=["empty", "cut short", "not an object", "edited", "later schema", "not UTF-8"],
)
def test_a_damaged_file_is_bad_input(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "controller.json"
    taught(3).save(path)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=r"controller\.json"):
        ThompsonController.load(path)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        ThompsonController.load(tmp_path / "none.json")


def test_a_state_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    taught(3).save(path)
    path.write_bytes(BOM_UTF8 + path.read_bytes())
    assert ThompsonController.load(path).rounds == taught(3).rounds


def test_a_state_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    taught(3).save(path)
    path.write_bytes(path.read_bytes().replace(b"{", b'{"schema":"tribrain.controller/9",', 1))
    with pytest.raises(BadInput, match=r"controller\.json: 'schema' appears twice"):
        ThompsonController.load(path)


def test_the_saved_state_is_plain_json(tmp_path: Path) -> None:
    taught(3).save(tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_bytes())["features"] == list(FEATURES)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_prior_needs_positive_scales(value: float) -> None:
    with pytest.raises(BadInput, match="controller prior noise"):
        Prior(noise=value)


def test_what_is_not_finite_is_not_learnt() -> None:
    with pytest.raises(ValueError, match="finite"):
        ThompsonController().update(np.zeros(D), "task", float("nan"))
