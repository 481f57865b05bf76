"""From a run to Kafka without holding the run up: a durable queue on disk and its publisher."""
