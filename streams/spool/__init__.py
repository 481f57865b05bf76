"""Publishes a run's events to Kafka without delaying the run: a durable queue on disk, and its publisher."""
