"""Services that learn live from Kafka."""
