"""River without scikit-learn, which others may still load afterwards."""

from __future__ import annotations

import subprocess
import sys

LEARNERS = """
import sys
import trainers.estimators, trainers.text.estimator
import trainers.laplace, trainers.river_logistic
print("sklearn" in sys.modules)
import sklearn.linear_model
print("sklearn" in sys.modules)
"""


def test_learners_load_no_scikit_learn_and_keep_it_from_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", LEARNERS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
