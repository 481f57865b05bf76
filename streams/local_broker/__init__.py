"""A Kafka broker on this computer: Apache Kafka under Java, else librdkafka's in memory."""
