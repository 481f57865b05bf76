"""The refinement loop: how prompts are chosen, what is noted of a step, when a run stops and resumes."""
