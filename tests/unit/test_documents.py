"""What documents say of each other and of the project, which nobody who edits one sees in the
others.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not (PROJECT / "README.md").exists(), reason="the tests are away from their project"
)
#: Documents that are read where they lie, not only in the site, whose builder checks the others.
READ_IN_PLACE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def text_of(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", READ_IN_PLACE)
def test_every_link_to_a_file_leads_to_one(name):
    """Of this repository; other addresses are not asked."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(name)):
        assert (PROJECT / target).exists(), f"{name} links to {target}"


def test_the_readme_begins_with_a_file_that_runs():
    """The recipe whose output is compared with what is written."""
    shown = text_of("README.md").split("```python\n")[1].split("```")[0]
    assert shown == text_of("docs/recipes/first/test_first.py")


def test_the_version_is_the_same_wherever_it_stands():
    """pyproject.toml is where it is written; a citation has to repeat it."""
    (version,) = re.findall(r'^version = "(.+)"$', text_of("pyproject.toml"), re.MULTILINE)
    assert f"\nversion: {version}\n" in text_of("CITATION.cff")
