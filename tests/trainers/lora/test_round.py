"""A periodic training by itself: which pairs it takes, what it writes, and when an adapter may choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load

from streams.errors import BadInput
from tests.trainers.lora.by_definition import candidate_mean
from tests.trainers.lora.serving import numbered
from tests.trainers.lora.tiny import SETTINGS, prepared_of
from trainers.lora.adapter import CONFIG, REWARD, UNCERTAINTY, VARIANCES, WEIGHTS, Adapter, read_adapter
from trainers.lora.baselines import Array
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.inbox import Arrived
from trainers.lora.model import build
from trainers.lora.promotion import IN_FORCE, judge, withdrawn
from trainers.lora.round import Trained, TrainingRecipe, parts_of, train_round
from trainers.lora.scorer import AdapterScorer, open_reward
from trainers.lora.scoring import score
from trainers.lora.texts import TextPair, is_held_out
from trainers.lora.tokens import Tokens, load_tokenizer

N_TASKS = 40
TASKS = [f"t{n}" for n in range(N_TASKS)]


def arrived(n: int) -> list[Arrived]:
    return [
        Arrived(
            0,
            at,
            1_000 * at,
            TextPair(one.task_id, one.goal_instruction, one.chosen_prompt, one.rejected_prompt, "human", 1.0),
        )
        for at, one in enumerate(numbered(n))
    ]


def put(trained: Trained, folder: Path) -> Adapter:
    folder.mkdir()
    for name, content in trained.files.items():
        (folder / name).write_bytes(content)
    return read_adapter(folder)


def trained_on(base: Path, work: Path, n: int = 48, settings: object = SETTINGS, **more: object) -> Trained:
    recipe = TrainingRecipe(str(base), settings)  # type: ignore[arg-type]
    parts = parts_of(arrived(n), {}, recipe, warm=False)
    return train_round(parts, recipe, TrainingCheckpoint(work / "round"), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained_on(bert, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def adapter(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return put(trained, tmp_path_factory.mktemp("adapter") / "one")


def test_a_fifth_of_all_tasks_is_kept_apart_and_no_other_task_matters() -> None:
    share = np.mean([is_held_out(f"run-{n}") for n in range(20_000)])
    assert share == pytest.approx(0.2, abs=0.01)
    few, many = (
        {pair.task for pair in parts_of(arrived(n), {}, TrainingRecipe(""), warm=False).held_out}
        for n in (60, 200)
    )
    assert few < many
    assert many.isdisjoint(
        pair.task for pair in parts_of(arrived(200), {}, TrainingRecipe(""), warm=False).train
    )


@pytest.mark.parametrize(("replay", "share"), [(0.0, 0.0), (0.5, 0.5), (0.75, 0.75)])
def test_a_warm_training_takes_the_new_pairs_and_a_share_of_the_old_ones(replay: float, share: float) -> None:
    recipe = TrainingRecipe("", replay=replay)
    pairs = arrived(300)
    parts = parts_of(pairs, {0: 270}, recipe, warm=True)
    new = [one.pair for one in pairs[270:] if not is_held_out(one.pair.task)]
    assert parts.train[-len(new) :] == tuple(new)
    assert parts.n_new == len(new)
    assert (len(parts.train) - len(new)) / len(parts.train) == pytest.approx(share, abs=0.01)
    assert len(set(parts.train)) == len(parts.train)
    assert parts == parts_of(pairs, {0: 270}, recipe, warm=True)
    assert len(parts.known) == sum(not is_held_out(one.pair.task) for one in pairs)


def test_with_fewer_old_pairs_than_its_share_it_takes_all() -> None:
    parts = parts_of(arrived(60), {0: 10}, TrainingRecipe("", replay=0.9), warm=True)
    assert parts.train == parts.known


def test_pairs_of_one_part_alone_are_too_few() -> None:
    apart = [one for one in arrived(60) if is_held_out(one.pair.task)]
    with pytest.raises(BadInput, match=r"pairs to learn from: 0, to measure on: .*; expected one of each"):
        parts_of(apart, {}, TrainingRecipe(""), warm=False)


def test_the_files_are_small_and_peft_reads_them(bert: Path, trained: Trained, adapter: Adapter) -> None:
    assert set(trained.files) == {WEIGHTS, CONFIG, UNCERTAINTY, "README.md", REWARD}
    base = prepared_of(bert).base
    built = build(base, "candidate", seed=7)
    model = PeftModel.from_pretrained(built.model, adapter.folder).eval()
    texts = [("move the red cube", "good"), ("move the red cube", "bad now")]
    expected = score(model, built, Tokens(load_tokenizer(base), 32).encode(texts))
    np.testing.assert_allclose(open_reward(adapter.folder).rewards(texts), expected, rtol=1e-5)


def test_nothing_in_the_files_says_when_or_how_long(bert: Path, trained: Trained, tmp_path: Path) -> None:
    again = trained_on(bert, tmp_path)
    assert again.files == trained.files
    assert again.metrics == trained.metrics


def test_it_begins_with_the_adapter_that_it_is_given(
    bert: Path, trained: Trained, adapter: Adapter, tmp_path: Path
) -> None:
    hardly = replace(SETTINGS, lr=1e-7)
    later = trained_on(bert, tmp_path, settings=hardly, start=adapter)
    before, after = (load(one.files[WEIGHTS]) for one in (trained, later))
    assert all(np.allclose(before[key], after[key], atol=1e-5) for key in before)
    assert later.metrics["start"] == "warm"


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, rank=4), replace(SETTINGS, length=16)])
def test_the_adapter_in_force_is_measured_as_it_was_trained(
    bert: Path, adapter: Adapter, settings: object, tmp_path: Path
) -> None:
    seen: dict[str, Sequence[TextPair]] = {}

    def nobody(known: Sequence[TextPair], held_out: Sequence[TextPair]) -> dict[str, Array]:
        seen["held out"] = held_out
        return {}

    of = trained_on(bert, tmp_path, settings=settings, in_force=adapter, baselines=nobody)
    reward = AdapterScorer(adapter)
    p = [reward.prob_prefer([one.goal], [one.chosen], [one.rejected])[0] for one in seen["held out"]]
    assert of.metrics["models"][IN_FORCE]["log_loss"] == pytest.approx(-np.mean(np.log(p)), abs=1e-6)
    assert set(of.metrics["lora_minus"]) == {IN_FORCE}


def predictions(**models: float) -> dict[str, Array]:
    """Each model gives about this probability to what was preferred."""
    noise = np.random.default_rng(0).normal(0, 0.02, N_TASKS)
    names = {"lora": "LoRA", "force": IN_FORCE}
    return {names.get(name, name): np.clip(p + noise, 0.01, 0.99) for name, p in models.items()}


def test_an_adapter_that_beats_all_others_is_active() -> None:
    verdict = judge(4, predictions(lora=0.8, force=0.7, ngrams=0.6), TASKS)
    assert verdict.gate == "active"
    assert verdict.statement.startswith(
        "Version 4 may choose: on 40 pairs of 40 tasks kept apart its log loss is shown to be below that of "
        "adapter in force (-0.1"
    )


@pytest.mark.parametrize("better", ["force", "ngrams"])
def test_one_opponent_that_is_not_beaten_is_enough_for_a_shadow(better: str) -> None:
    verdict = judge(4, predictions(**{"lora": 0.8, "force": 0.7, "ngrams": 0.6, better: 0.8}), TASKS)
    named, other = (IN_FORCE, "ngrams") if better == "force" else ("ngrams", IN_FORCE)
    assert verdict.gate == "shadow"
    assert f"its log loss is not shown to be below that of {named} (" in verdict.statement
    assert f"{other} (" not in verdict.statement
    assert set(verdict.metrics["lora_minus"]) == {IN_FORCE, "ngrams"}


def test_few_tasks_show_nothing() -> None:
    few = {name: p[:19] for name, p in predictions(lora=0.9, ngrams=0.5).items()}
    verdict = judge(1, few, TASKS[:19])
    assert verdict.gate == "shadow"
    assert verdict.statement == (
        "Version 1 is a shadow: on 19 pairs of 19 tasks kept apart, and at least 20 tasks are needed to tell "
        "anything."
    )


def test_the_one_in_force_goes_when_something_else_is_shown_to_be_better() -> None:
    assert withdrawn(predictions(lora=0.9, force=0.7, ngrams=0.6), TASKS) is None
    assert withdrawn(predictions(lora=0.5, force=0.6, ngrams=0.7), TASKS) == "ngrams"


def test_the_deviation_is_that_of_the_heads_posterior(bert: Path, trained: Trained, adapter: Adapter) -> None:
    """Against the sum over the training pairs, written out."""
    reward = AdapterScorer(adapter)
    recipe = TrainingRecipe(str(bert), SETTINGS)
    parts = parts_of(arrived(48), {}, recipe, warm=False)
    tensors = load(trained.files[WEIGHTS])
    (head,) = (t[0].double().numpy() for key, t in tensors.items() if key.endswith("score.weight"))
    precision = np.full(len(head), 1.0 / np.mean(head**2))
    for one in parts.train:
        phi = features(bert, adapter, [(one.goal, one.chosen), (one.goal, one.rejected)])
        p = reward.prob_prefer([one.goal], [one.chosen], [one.rejected])[0]
        precision += p * (1 - p) * (phi[0] - phi[1]) ** 2
    assert adapter.variances_H == pytest.approx(1 / precision, rel=1e-4)
    goal = "move the red cube"
    means, covariance = reward.rewards_of(adapter, goal, ["good cube", goal])
    phi = features(bert, adapter, [(goal, "good cube"), (goal, goal)])
    assert covariance[0, 0] == pytest.approx((phi[0] - phi[1]) ** 2 @ adapter.variances_H, rel=1e-4)
    assert covariance[1] == pytest.approx(np.zeros(2), abs=1e-7)
    assert means == pytest.approx(phi @ head, abs=1e-5)


def features(bert: Path, adapter: Adapter, texts: list[tuple[str, str]]) -> Array:
    base = prepared_of(bert).base
    model = PeftModel.from_pretrained(build(base, "candidate", seed=0).model, adapter.folder).eval()
    encoded = Tokens(load_tokenizer(base), 32).encode(texts)
    with torch.inference_mode():
        means = [candidate_mean(model.get_base_model(), one, takes_type_ids=True) for one in encoded]
    return np.array([mean.double().numpy() for mean in means])


def test_without_a_posterior_the_deviation_follows_from_the_log_loss(adapter_folder: Path) -> None:
    adapter = read_adapter(adapter_folder)
    log_loss = orjson.loads((adapter_folder / REWARD).read_bytes())["metrics"]["models"]["LoRA"]["log_loss"]
    means, covariance = AdapterScorer(adapter).rewards_of(adapter, "goal", ["good", "bad", "good cube"])
    assert means.shape == (3,)
    deviation = np.pi / np.sqrt(3) * min(1.0, log_loss / np.log(2))
    assert covariance == pytest.approx(np.eye(3) * deviation**2)


def test_damaged_variances_are_refused(adapter: Adapter, trained: Trained, tmp_path: Path) -> None:
    content = bytearray(trained.files[UNCERTAINTY])
    content[-1] ^= 0x80
    damaged = replace(trained, files=trained.files | {UNCERTAINTY: bytes(content)})
    with pytest.raises(
        BadInput, match=r"uncertainty\.safetensors: the SHA-256 is not the one in reward\.json"
    ):
        put(damaged, tmp_path / "damaged")
    assert load(trained.files[UNCERTAINTY])[VARIANCES].shape == (16,)
