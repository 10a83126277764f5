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


def headings_of(name: str) -> set[str]:
    """A document's headings, as links name them."""
    text = re.sub(r"^```.*?^```$", "", text_of(name), flags=re.MULTILINE | re.DOTALL)
    plain = (each.lower() for each in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in plain}


@pytest.mark.parametrize("name", READ_IN_PLACE)
def test_every_link_to_a_file_leads_to_one(name):
    """Of this repository, and to a heading that it has; other addresses are not asked."""
    for target, heading in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", text_of(name)):
        assert (PROJECT / target).exists(), f"{name} links to {target}"
        assert not heading or heading in headings_of(target), f"{name} links to {target}#{heading}"


def test_pages_that_the_program_names_exist():
    """What a sentence sends a user to."""
    package = PROJECT / "pytest_isolate"
    for path in package.rglob("*.py"):
        for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8")):
            assert (PROJECT / page).exists(), f"{path.relative_to(PROJECT)} names {page}"


def test_the_readme_begins_with_a_file_that_runs():
    """The recipe whose output is compared with what is written."""
    shown = text_of("README.md").split("```python\n")[1].split("```")[0]
    assert shown == text_of("docs/recipes/first/test_first.py")


def test_the_version_is_the_same_wherever_it_stands():
    """pyproject.toml is where it is written; a citation has to repeat it."""
    (version,) = re.findall(r'^version = "(.+)"$', text_of("pyproject.toml"), re.MULTILINE)
    assert f"\nversion: {version}\n" in text_of("CITATION.cff")
