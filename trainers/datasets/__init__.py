"""Videos and preferences of finished runs as data that world models and reward models are trained on."""
