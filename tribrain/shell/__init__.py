"""What every command shares: options, output, exit codes, interrupts, and the way to Kafka."""
