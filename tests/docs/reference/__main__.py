"""``python -m tests.docs.reference``: writes what is made from the code, in the repository."""

from __future__ import annotations

from collections.abc import Mapping

from streams.files import write_atomically
from tests.docs.pages import ROOT, text_of
from tests.docs.reference.commands import commands_page
from tests.docs.reference.python import python_page
from tests.docs.reference.rights import put_rights_into
from tests.docs.reference.settings import settings_page
from tests.docs.reference.topics import topics_page

_RIGHTS = "docs/how-to/secured-kafka.md"


def files() -> Mapping[str, str]:
    """Path in the repository to content."""
    return {
        "docs/reference/commands.md": commands_page(),
        "docs/reference/python.md": python_page(),
        "docs/reference/settings.md": settings_page(),
        "docs/reference/topics.md": topics_page(),
        _RIGHTS: put_rights_into(text_of(_RIGHTS)),
    }


def main() -> None:
    """Write all of them."""
    for name, content in files().items():
        write_atomically(ROOT / name, content.encode())
        print(name)


if __name__ == "__main__":
    main()
