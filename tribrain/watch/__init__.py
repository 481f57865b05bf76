"""How everything is: status, health, and what is installed."""
