"""What the page on agreement says about the weights of annotators."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.messages.contracts import DimensionReward, RewardSnapshot
from tests.runner.fakes import snapshot
from tests.streams.test_votes import vote
from trainers.evidence.agreement import agreement
from tribrain.figures.templates import environment
from tribrain.ui.agreement import reliability
from tribrain.ui.pages import HERE

OVERALL = {"Ann": {"compared": 9, "agreed": 8, "weight": 0.9}}
PHYSICS = {"Ann": {"compared": 5, "agreed": 2, "weight": 0.25}}


def learnt() -> RewardSnapshot:
    made = snapshot()
    physics = DimensionReward(
        gate=made.gate,
        statement=made.statement,
        feature_names=made.feature_names,
        weights=tuple(made.weights.values()),
        scales=tuple(made.scales.values()),
        labels=made.labels,
        metrics={"annotators": PHYSICS},
    )
    return replace(made, metrics={"annotators": OVERALL}, dimensions={"physics": physics})


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [("", OVERALL), ("Overall", OVERALL), ("physics", PHYSICS), ("smoothness", {})],
)
def test_an_annotators_weight_is_that_in_the_dimensions_own_model(
    dimension: str, expected: dict[str, object]
) -> None:
    assert reliability(learnt(), dimension) == expected


def test_without_a_model_nobody_has_been_compared() -> None:
    assert reliability(None, "") == reliability(None, "physics") == reliability(snapshot(), "") == {}


def test_each_section_shows_its_own_weights() -> None:
    dimensions = ["", "physics", "smoothness"]
    html = (
        environment(HERE / "templates")
        .get_template("agreement.html.j2")
        .render(
            section="agreement",
            sections=(),
            annotator="",
            news="",
            figures=[(name, agreement([vote(annotator="Ann", dimension=name)])) for name in dimensions],
            reliability={name: reliability(learnt(), name) for name in dimensions},
        )
    )
    sections = html.split("<section")[1:]
    words = ("0.90: agreed with others in 8 of 9", "0.25: agreed with others in 2 of 5", "not compared yet")
    assert [word in section for word, section in zip(words, sections, strict=True)] == [True] * 3
