"""Stand-ins for WoW's programs: their command lines and what they do to files, and none of their code."""
