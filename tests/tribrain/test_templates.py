"""The templates of page and reports."""

from __future__ import annotations

from pathlib import Path

import tribrain

_PACKAGE = Path(tribrain.__file__).parent
_TEMPLATES = sorted(_PACKAGE.rglob("*.j2"))
_PAGES = _PACKAGE / "ui" / "templates"


def test_every_template_is_used() -> None:
    sources = {path: path.read_text() for path in [*_PACKAGE.rglob("*.py"), *_TEMPLATES]}

    def is_used(template: Path) -> bool:
        name = template.relative_to(_PAGES if template.is_relative_to(_PAGES) else _PACKAGE).as_posix()
        return any(f'"{name}"' in text for path, text in sources.items() if path != template)

    assert len(_TEMPLATES) > 10
    assert [path.name for path in _TEMPLATES if not is_used(path)] == []
