"""The messages on the topics: contracts, the one codec between bytes and objects, and files of messages.

Nothing here depends on a Kafka client.
"""
