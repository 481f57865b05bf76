"""What the processes of ``tests.services`` have imported and compiled when they are forked."""

from __future__ import annotations

import tribrain.serve.text_worker
import tribrain.serve.trainer_worker
import tribrain.ui.server
import tribrain.ui.serving  # noqa: F401
from trainers.bradley_terry.estimators import LEARNERS, Recipe
from trainers.online.learner import load_learner

for learner in LEARNERS:
    load_learner(Recipe(learner=learner))
