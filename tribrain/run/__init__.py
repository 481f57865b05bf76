"""One refinement run: its options, its folder, where its events go, and judging it again."""
