"""Every order of events: several workers over a simulated Kafka, drawn from a seed, faults included."""
