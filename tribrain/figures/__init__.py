"""Pictures and pages: what reports are drawn with."""
