"""A command that gives bearer tokens, unsigned as Kafka takes them for tests, and notes each."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_PROGRAM = """\
import base64, json, sys, time
def part(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
name, valid_s, notes = sys.argv[1:]
with open(notes, "a") as file:
    print(time.time(), file=file)
now = time.time()
claims = {"sub": name, "iat": now, "exp": now + float(valid_s)}
print(".".join([part({"alg": "none"}), part(claims), ""]))
"""


class TokenCommand:
    """``command`` names whoever is called ``name``, for ``valid_s`` seconds."""

    def __init__(self, folder: Path, name: str, valid_s: float) -> None:
        program, self._notes = folder / "token.py", folder / f"{name}.notes"
        program.write_text(_PROGRAM)
        self.command = shlex.join([sys.executable, "-S", str(program), name, str(valid_s), str(self._notes)])

    @property
    def given(self) -> int:
        """How many tokens it has given."""
        return len(self._notes.read_text().splitlines()) if self._notes.exists() else 0
