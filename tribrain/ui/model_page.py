"""The Model page: the model's weights and their intervals, its evidence, its versions, and rollback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from streams.errors import BadInput, counted
from streams.messages.contracts import TRUSTED_SOURCES, RewardSnapshot
from streams.messages.feature_names import is_indicator
from streams.messages.votes import Vote
from trainers.bradley_terry.explain import Explanation, explain
from trainers.bradley_terry.reward import reward_on
from trainers.pairs.weights import SOURCE_WEIGHTS
from tribrain.log.rollback import roll_back as go_back
from tribrain.story.model import SOURCES, EffectRow, effect_rows, gate_in_words, plain
from tribrain.ui import calibration as plot
from tribrain.ui.pages import form_of, page, state_of

_CURVES = 6
_POINTS = 200
_ROWS = 30
_FEW_VERSIONS = 5
"""Number of versions shown at once; the others, up to ``_VERSIONS``, have to be opened."""
_VERSIONS = 25
_LARGEST_VERSION = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """What the model has learnt about one dimension, or overall."""

    name: str
    explanation: Explanation
    rows: list[EffectRow]
    has_contexts: bool
    left_out: int
    gate: str
    labels: list[tuple[str, int]]
    simulated: list[str]
    calibration: str
    curve: list[plot.CalibrationPoint]
    curve_words: str


async def show(request: Request) -> Response:
    state = state_of(request)
    news, snapshot = state.news, state.snapshot()
    if snapshot is None or state.live is None:
        return page(
            request, "model.html.j2", "model", news=news, model=None, has_broker=state.live is not None
        )
    versions = list(state.live.versions)
    votes = state.ballots.standing()
    dimensions = [_dimension(snapshot, name, votes) for name in ("", *snapshot.dimensions)]
    return page(
        request,
        "model.html.j2",
        "model",
        news=news,
        model=snapshot,
        has_broker=True,
        plot=plot,
        critic_share=SOURCE_WEIGHTS["critic"],
        dimensions=[each for each in dimensions if each.explanation.effects or not each.name],
        series=_series([each for _, each in versions]),
        versions=[_version(at, each) for at, each in reversed(versions[-_VERSIONS:])],
        few_versions=_FEW_VERSIONS,
        has_older=len(versions) > _VERSIONS,
        has_rolled_back="rolled_back" in request.query_params,
    )


def _dimension(snapshot: RewardSnapshot, name: str, votes: Sequence[Vote]) -> Dimension:
    explanation = explain(reward_on(snapshot, name))
    curve = plot.points(explanation.trusted)
    effects = explanation.effects[:_ROWS]
    return Dimension(
        name=name,
        explanation=explanation,
        rows=effect_rows(explanation, effects),
        has_contexts=any(is_indicator(effect.feature) for effect in effects),
        left_out=len(explanation.effects) - len(effects),
        gate=gate_in_words(explanation),
        labels=[(SOURCES.get(source, source), n) for source, n in explanation.labels.items()],
        simulated=simulated_annotators(votes, name),
        calibration=calibration_in_words(explanation),
        curve=curve,
        curve_words=plot.in_words(curve) if curve else "",
    )


def simulated_annotators(votes: Iterable[Vote], dimension: str) -> list[str]:
    """The annotators of a dimension that are programs, as the demo's simulated people are."""
    found = (vote for vote in votes if vote.dimension == dimension and vote.meta.get("simulated"))
    return sorted({vote.annotator for vote in found})


def calibration_in_words(explanation: Explanation) -> str:
    """A sentence on how far its stated probabilities are off, or on why that is unknown."""
    trusted = explanation.trusted
    if not trusted or "ece" not in trusted:
        has_any = any(explanation.labels.get(source) for source in TRUSTED_SOURCES)
        why = "None of its labels is evidence" if has_any else "There are no labels from people or validators"
        return f"{why} yet, so its calibration is unknown."
    return (
        f"Its stated probabilities are off by {100 * trusted['ece']:.0f} percentage points on average "
        f"({counted(trusted['n'], 'pair')}, predicted before being learnt)."
    )


def _series(snapshots: Sequence[RewardSnapshot]) -> dict[str, Any]:
    """The history of the strongest effects and of the log loss; one value per version, null if missing."""
    step = max(1, -(-len(snapshots) // _POINTS))
    chosen = [*snapshots[:-1:step], *snapshots[-1:]]
    odds = [_odds(each) for each in chosen]
    strongest = list(odds[-1])[:_CURVES] if odds else []
    trusted = [each.metrics.get("trusted") or {} for each in chosen]
    return {
        "versions": [each.version for each in chosen],
        "odds": [{"name": plain(name), "values": [each.get(name) for each in odds]} for name in strongest],
        "log_loss": [
            {"name": "model", "values": [each.get("log_loss") for each in trusted]},
            {"name": "critics' mean", "values": [each.get("log_loss_critics_mean") for each in trusted]},
        ],
    }


def _odds(snapshot: RewardSnapshot) -> dict[str, float]:
    """Odds ratio of every feature, the strongest first, as in the table of the newest version."""
    return {effect.feature: effect.odds_ratio for effect in explain(reward_on(snapshot, "")).effects}


def _version(at_ms: int, snapshot: RewardSnapshot) -> dict[str, Any]:
    trusted = snapshot.metrics.get("trusted") or {}
    return {
        "version": snapshot.version,
        "at": datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "gate": snapshot.gate,
        "pairs": snapshot.n_pairs,
        "log_loss": trusted.get("log_loss"),
    }


async def ask(request: Request) -> Response:
    """Ask before a rollback, which changes what steers every run."""
    version = _version_of(request.query_params.get("version", ""))
    state = state_of(request)
    newest = state.snapshot()
    if version is None or newest is None or version >= newest.version:
        return _refused(
            request, "There is no earlier version with that number. Choose one on the Model page."
        )
    return page(request, "rollback.html.j2", "model", version=version, newest=newest.version, error="")


async def roll_back(request: Request) -> Response:
    """Roll back, as ``tribrain log snapshots rollback`` does."""
    form = await form_of(request)
    version = _version_of(form.get("version", ""))
    live = state_of(request).live
    if version is None or live is None:
        return _refused(request, "Give the number of an earlier version, and start the page with a broker.")
    reason = form.get("reason", "").strip()[:500]
    try:
        await run_in_threadpool(go_back, live.settings, live.model, version, reason)
    except BadInput as error:
        return _refused(request, str(error))
    return RedirectResponse("/model?rolled_back", 303)


def _version_of(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else 0
    return number if 0 < number < _LARGEST_VERSION else None


def _refused(request: Request, why: str) -> Response:
    return page(request, "message.html.j2", "model", 400, title="The model stays as it is", text=why)
