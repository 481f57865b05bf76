"""What travels on the topics: contracts, the one codec between bytes and objects, and files of messages.

Nothing here knows of Kafka clients.
"""
