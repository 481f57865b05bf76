"""Kafka itself: settings, topics, and the readers and writers that carry bytes to and from it."""
