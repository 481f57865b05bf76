"""What steers a run besides its critics: rewards that are published, or from a file."""
