"""What the processes of ``tests.services`` have imported and compiled when they are forked."""

from __future__ import annotations

import tribrain.text_worker
import tribrain.trainer_worker  # noqa: F401
from trainers.estimators import LEARNERS, Recipe

for learner in LEARNERS:
    Recipe(learner=learner).load()
