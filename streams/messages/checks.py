"""Checks beyond the contracts' types: of free-form fields, and of fields that must agree with each other."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec

from streams.messages.contracts import (
    Candidate,
    DimensionReward,
    FinetuneEvent,
    PreferencePair,
    RewardSnapshot,
    RunEnd,
    TraceEvent,
)
from streams.messages.fields import Context
from streams.messages.limits import MAX_COUNT, MAX_DEPTH, MAX_ID_CHARS, MAX_NAME_CHARS, MAX_SCORES
from streams.messages.refusals import ContractError, NotFinite, OtherFeatures, in_words, shown
from streams.messages.votes import Vote

_LEAST_INT, _LARGEST_INT = -(2**63), 2**64 - 1
_LONGEST_PATH = 200


def is_tame(message: Any) -> bool:
    """Whether free-form fields are nested no deeper than allowed and their integers fit in 64 bits."""
    kind = type(message)
    parts_of = _PARTS_OF.get(kind)
    for part in parts_of(message) if parts_of else (message.extras,):
        if part and not _are_tame(part.values(), MAX_DEPTH):
            return False
    if kind is TraceEvent:
        for result in message.critic_results:
            if result.extra and not _are_tame(result.extra.values(), MAX_DEPTH):
                return False
            if result.extras and not _are_tame(result.extras.values(), MAX_DEPTH):
                return False
    if kind is RewardSnapshot:
        for reward in message.dimensions.values():
            if not _are_tame(reward.metrics.values(), MAX_DEPTH):
                return False
            if reward.extras and not _are_tame(reward.extras.values(), MAX_DEPTH):
                return False
    return True


def _are_tame(values: Iterable[Any], depth: int) -> bool:
    for value in values:
        kind = type(value)
        if kind is int:
            if not _LEAST_INT <= value <= _LARGEST_INT:
                return False
        elif kind is dict:
            if depth == 0 or not _are_tame(value.values(), depth - 1):
                return False
        elif kind is list and (depth == 0 or not _are_tame(value, depth - 1)):
            return False
    return True


def free_parts(message: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    """The free-form fields of a message, with their names."""
    if type(message) is TraceEvent:
        for index, result in enumerate(message.critic_results):
            yield f"critic_results[{index}].extra", result.extra
            if result.extras:
                yield f"critic_results[{index}]", result.extras
    if type(message) is RewardSnapshot:
        for name, reward in message.dimensions.items():
            yield f"dimensions.{name}.metrics", reward.metrics
            if reward.extras:
                yield f"dimensions.{name}", reward.extras
    for name in _FREE.get(type(message), ()):
        yield name, getattr(message, name)
    if message.extras:
        yield "", message.extras


def check(message: Any, source: object) -> None:
    """Raises ContractError for violations that types cannot express; for snapshots see ``check_features``."""
    kind = type(message)
    if kind is TraceEvent:
        _check_event(message, source)
    elif kind is RunEnd:
        _check_revision(message.meta, source)
    elif kind is PreferencePair and "judge" in message.meta:
        _check_text(message.meta, "judge", MAX_NAME_CHARS, source)
    elif kind is Vote:
        _check_vote(message, source)


def _check_event(event: TraceEvent, source: object) -> None:
    meta = event.meta
    run_id = meta.get("run_id")
    if type(run_id) is not str or not 0 < len(run_id) <= MAX_ID_CHARS:
        raise ContractError(
            f"{source}: meta.run_id: expected a non-empty text of at most {MAX_ID_CHARS} characters, "
            f"found {shown(run_id)}"
        )
    if "task_id" in meta:
        _check_text(meta, "task_id", MAX_ID_CHARS, source)
    if "goal_instruction" in meta:
        _check_text(meta, "goal_instruction", None, source)
    _check_revision(meta, source)
    if event.overall_score is None and not meta.get("error"):
        raise ContractError(
            f"{source}: overall_score is null; expected a number in [0, 1], or meta.error to say why"
        )
    if "outcome" in meta:
        _check_outcome(meta["outcome"], source)
    for name in ("context", "candidate_context"):
        if name in meta:
            _check_context(meta, name, source)
    n_scores = 0
    for result in event.critic_results:
        n_scores += len(result.scores)
    if n_scores > MAX_SCORES:
        raise ContractError(
            f"{source}: critic_results: found {n_scores} scores; expected at most {MAX_SCORES}"
        )
    critics = [result.critic_name for result in event.critic_results]
    if len(set(critics)) < len(critics) or any("." in name for name in critics):  # otherwise all names differ
        _check_names(event, source)


def _check_names(event: TraceEvent, source: object) -> None:
    """Checks that scores with the same name for a reward model are equal."""
    scores: dict[str, tuple[float, str, str]] = {}
    for result in event.critic_results:
        for mode, score in result.scores.items():
            if score is None:
                continue
            before, critic, its_mode = scores.setdefault(
                f"{result.critic_name}.{mode}", (score, result.critic_name, mode)
            )
            if before != score:
                raise ContractError(
                    f"{source}: critic_results: found {score} by critic {shown(result.critic_name)} for "
                    f"{shown(mode)} and {before} by {shown(critic)} for {shown(its_mode)}, which are both "
                    f"called {shown(f'{critic}.{its_mode}')}; expected one score per name: rename a critic"
                )


def _check_revision(meta: dict[str, Any], source: object) -> None:
    """Checks ``revision``, ``rescored_in`` and ``rescored``; null counts as absent."""
    for name, most in (("revision", MAX_COUNT), ("rescored_in", meta.get("revision") or 0)):
        found = meta.get(name)
        if found is not None and not (type(found) is int and 0 <= found <= most):
            raise ContractError(
                f"{source}: meta.{name}: expected a whole number from 0 to {most}, or null, "
                f"found {shown(found)}"
            )
    critics = meta.get("rescored")
    if critics is not None and not (type(critics) is list and all(type(name) is str for name in critics)):
        raise ContractError(
            f"{source}: meta.rescored: expected a list of critic names, or null, found {shown(critics)}"
        )


def _check_vote(vote: Vote, source: object) -> None:
    if vote.left == vote.right:
        raise ContractError(
            f"{source}: left and right are both iteration {vote.left_iter_idx} of run "
            f"{shown(vote.left_run_id)}; expected two candidates"
        )
    if vote.takes_back == vote.vote_id:
        raise ContractError(f"{source}: takes_back: is the vote itself; expected an earlier vote's vote_id")
    if vote.answer is None and not vote.takes_back:
        raise ContractError(
            f"{source}: answer is null; expected an answer, or the vote_id of a retracted vote in takes_back"
        )


def check_features(snapshot: RewardSnapshot, source: object) -> None:
    """Raises OtherFeatures if weights, scales or covariance do not match the named features."""
    names = snapshot.feature_names
    if snapshot.feature_hash != feature_hash(names):
        raise OtherFeatures(
            f"{source}: feature_hash: does not match the feature names; the snapshot is for other features"
        )
    for name in names:
        if name not in snapshot.weights or not snapshot.scales.get(name, 0.0) > 0.0:
            raise OtherFeatures(
                f"{source}: scales.{name}: found {snapshot.scales.get(name)}; expected a weight and a scale "
                "above 0 for every feature: recreate the snapshot"
            )
    _check_covariance(snapshot, f"{source}: ")
    if unnamed := snapshot.weights.keys() - set(names):
        raise OtherFeatures(f"{source}: weights: found {sorted(unnamed)[0]!r}, which is not a feature name")
    for name, (lowest, highest, _) in snapshot.ranges.items():
        if name not in snapshot.weights:
            raise OtherFeatures(f"{source}: ranges: found {name!r}, which is not a feature name")
        if lowest > highest:
            raise ContractError(
                f"{source}: ranges.{name}: found {lowest:g} to {highest:g}; expected the lowest score first"
            )
    for name, reward in snapshot.dimensions.items():
        n = len(reward.feature_names)
        if {n} != {len(reward.weights), len(reward.scales)} or not all(
            scale > 0.0 for scale in reward.scales
        ):
            raise OtherFeatures(
                f"{source}: dimensions.{name}: expected a weight and a scale above 0 for each of {n} features"
            )
        _check_covariance(reward, f"{source}: dimensions.{name}.")


def _check_covariance(reward: RewardSnapshot | DimensionReward, path: str) -> None:
    covariance, n = reward.covariance, len(reward.feature_names)
    if covariance and {n, *map(len, covariance)} != {len(covariance)}:
        raise OtherFeatures(f"{path}covariance: expected a row and a column for every feature")


def feature_hash(names: Iterable[str]) -> str:
    """SHA-256 (hex) of the feature names in order, one per line."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_free(value: Any, path: str, depth: int = MAX_DEPTH + 1) -> None:
    """Raises ContractError, with the path, for a value that ``is_tame`` rejects."""
    if isinstance(value, int):
        if not _LEAST_INT <= value <= _LARGEST_INT:
            raise ContractError(f"{path}: found {shown(value)}; expected an integer of at most 64 bits")
    elif isinstance(value, dict | list):
        if depth == 0:
            place = path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
            raise ContractError(f"{place}: expected at most {MAX_DEPTH} levels of objects and lists")
        for inner, item in _items(value, path):
            check_free(item, inner, depth - 1)


def check_finite(value: Any, path: str) -> None:
    """Raises NotFinite, with the path, for a number that is not finite."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotFinite(f"{path}: {value} is not a finite number")
    elif isinstance(value, dict | list | tuple):
        for inner, item in _items(value, path):
            check_finite(item, inner)


def _items(value: dict[str, Any] | list[Any] | tuple[Any, ...], path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((f"{path}.{key}", item) for key, item in value.items())
    return ((f"{path}[{index}]", item) for index, item in enumerate(value))


def _check_text(meta: dict[str, Any], name: str, longest: int | None, source: object) -> None:
    text = meta[name]
    if text is None or (type(text) is str and (longest is None or len(text) <= longest)):
        return
    at_most = f" of at most {longest} characters" if longest else ""
    raise ContractError(f"{source}: meta.{name}: expected a text{at_most}, or null, found {shown(text)}")


def _check_outcome(outcome: Any, source: object) -> None:
    score: Any = outcome.get("score") if isinstance(outcome, dict) else None
    if outcome is not None and not (type(score) in (int, float) and 0 <= score <= 1):
        raise ContractError(
            f"{source}: meta.outcome: expected an object with a score in [0, 1], found {shown(outcome)}"
        )


def _check_context(meta: dict[str, Any], name: str, source: object) -> None:
    """Checks an object against the bounds of a pair's context; anything else counts as absent."""
    context = meta[name]
    if not isinstance(context, dict):
        return
    within = {name: context}
    try:
        msgspec.convert(within, _Contexts)
    except msgspec.ValidationError as error:
        within[name] = dict(context)
        why = in_words(error, within, lambda: msgspec.convert(within, _Contexts), _Contexts)
        raise ContractError(f"{source}: meta.{why}") from None


class _Contexts(msgspec.Struct):
    context: Context = msgspec.field(default_factory=dict)
    candidate_context: Context = msgspec.field(default_factory=dict)


msgspec.json.Decoder(_Contexts)  # first use at import, not in a thread; see the codec


_FREE: dict[type, tuple[str, ...]] = {
    TraceEvent: ("meta",),
    RunEnd: ("meta",),
    PreferencePair: ("context", "chosen_context", "rejected_context", "meta"),
    FinetuneEvent: ("details",),
    Vote: ("meta",),
    Candidate: ("context", "candidate_context"),
}
_PARTS_OF = {kind: attrgetter(*names, "extras") for kind, names in _FREE.items()}
