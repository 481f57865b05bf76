"""What learners import, and when."""

from __future__ import annotations

import subprocess
import sys

LEARNERS = """
import sys
def loaded():
    return "sklearn" in sys.modules, "scipy.stats._stats_py" in sys.modules
import trainers.estimators, trainers.text.estimator, trainers.laplace
print(*loaded())
import trainers.river_logistic
print(*loaded())
import sklearn.linear_model
from river.drift import KSWIN
from scipy.stats import norm
print(*loaded())
detector = KSWIN(seed=1)
found = []
for value in [0.0, 1.0] * 100 + [9.0, 8.0] * 100:
    detector.update(value)
    found.append(detector.drift_detected)
print(any(found[:200]), any(found[200:]), norm.cdf(0.0))
"""


def test_learners_load_only_what_they_use_and_keep_the_rest_from_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", LEARNERS], capture_output=True, text=True, check=True)
    default, both, others, used = [line.split() for line in done.stdout.splitlines()]
    assert default == ["False", "False"]
    assert both[0] == "False"  # River's linear models need scipy.stats
    assert others == ["True", "True"]
    assert used == ["False", "True", "0.5"]


FIRST_PAIR = """
import sys
from numba.core.registry import CPUDispatcher
from tests.factories import pair
from trainers.estimators import LEARNERS, Recipe
from trainers.learner import PreferenceLearner

def loaded():
    modules = [sys.modules[f"trainers.{name}"] for name in ("laplace", "river_logistic")]
    kernels = [k for module in modules for k in vars(module).values() if isinstance(k, CPUDispatcher)]
    return set(sys.modules), [(kernel, kernel.signatures) for kernel in kernels]

for name in LEARNERS:
    Recipe(learner=name).load()
before = loaded()
first = pair({"a.x": 1.0}, {"a.x": 0.2, "b.y": 0.3})
for name in LEARNERS:
    PreferenceLearner("default", Recipe(learner=name)).on_message(first)
print(any(signatures for _, signatures in before[1]), loaded() == before)
"""


def test_the_first_pair_imports_and_compiles_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_PAIR], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
