"""A run as people are told of it, on the page and in reports; and what all reports have in common."""
