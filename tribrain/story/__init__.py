"""A run as the page and reports present it to people, and what all reports share."""
