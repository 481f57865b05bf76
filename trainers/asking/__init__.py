"""Which two videos people are asked about next."""
