"""The log on Kafka: topics, users, votes, replay, backup, and what was published."""
