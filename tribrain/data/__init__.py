"""Commands that turn runs into data for other trainings."""
