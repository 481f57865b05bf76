"""What learners import, and when."""

from __future__ import annotations

import subprocess
import sys

from trainers.bradley_terry.laplace import Laplace

LEARNERS = """
import sys
def loaded():
    return "sklearn" in sys.modules, "pandas" in sys.modules, "scipy.stats" in sys.modules
import trainers.bradley_terry.estimators, trainers.bradley_terry.laplace
import trainers.online.learner, trainers.text.estimator
print(*loaded())
import trainers.bradley_terry.river_logistic
print(*loaded())
"""


def test_the_default_learner_loads_only_what_it_uses_and_no_learner_loads_scikit_learn() -> None:
    """River's linear models need scipy.stats."""
    done = subprocess.run([sys.executable, "-c", LEARNERS], capture_output=True, text=True, check=True)
    default, both = done.stdout.splitlines()
    assert default == "False False False"
    assert both == "False False True"


def test_the_detector_is_the_one_behind_rivers_adwin() -> None:
    """Which, imported by its own name, loads all that is not loaded above."""
    from river.drift import ADWIN

    model = Laplace()
    detector = ADWIN(delta=model.drift_delta, clock=4, grace_period=5, min_window_length=5)
    assert type(detector._helper) is type(model._detector)
    seen = [detector.update(x) or detector.drift_detected for x in [0.1] * 200 + [0.9] * 50]
    again = [model._detector.update(x) for x in [0.1] * 200 + [0.9] * 50]
    first = seen.index(True)
    assert again[: first + 1] == seen[: first + 1]


FIRST_PAIR = """
import sys
from numba.core.registry import CPUDispatcher
from tests.factories import pair
from trainers.bradley_terry.estimators import LEARNERS, Recipe
from trainers.online.learner import OnlineLearner, load_learner

def loaded():
    module = sys.modules["trainers.bradley_terry.kernels"]
    kernels = [k for k in vars(module).values() if isinstance(k, CPUDispatcher)]
    return set(sys.modules), [(kernel, kernel.signatures) for kernel in kernels]

for name in LEARNERS:
    load_learner(Recipe(learner=name))
before = loaded()
first = pair({"a.x": 1.0}, {"a.x": 0.2, "b.y": 0.3})
for name in LEARNERS:
    OnlineLearner("default", Recipe(learner=name)).on_message(first)
print(any(signatures for _, signatures in before[1]), loaded() == before)
"""


def test_the_first_pair_imports_and_compiles_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_PAIR], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
