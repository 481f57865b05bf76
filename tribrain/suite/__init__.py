"""A refinement run for each prompt of a benchmark file."""
