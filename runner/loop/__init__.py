"""The refinement loop: how prompts are chosen, what is recorded, and when a run stops or resumes."""
