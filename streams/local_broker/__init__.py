"""A Kafka broker on this computer: Apache Kafka under Java, or else librdkafka's in-memory test broker."""
