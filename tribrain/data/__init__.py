"""From runs to data for other trainings."""
