"""What steers a run beside its critics: rewards as they are published, or from a file."""
