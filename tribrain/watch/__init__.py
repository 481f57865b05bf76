"""The state of everything: status, health, and what is installed."""
