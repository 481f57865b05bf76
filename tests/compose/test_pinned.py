"""What the images are built of is what was tested here, all of it, and pinned."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compose.stack import ROOT

_PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lora.txt"])
def test_versions_in_the_images_are_those_of_the_tests(name: str) -> None:
    here = dict(_PINNED.findall((ROOT / name).read_text()))
    in_image = dict(_PINNED.findall((ROOT / "compose" / name).read_text()))
    assert {package: here.get(package) for package in in_image} == in_image


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lora.txt"])
def test_everything_that_the_project_needs_is_in_the_images_with_hashes(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"]["lora"] if "lora" in name else [])
    text = (ROOT / "compose" / name).read_text()
    pinned = dict(_PINNED.findall(text))
    assert {canonicalize_name(Requirement(each).name) for each in wanted} <= set(pinned)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "index-url" not in text
