"""What README.md and the pages say in Python is true, and what README.md links to is there."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jitgraph.theano import uninstall

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


#: The pages with Python in them, and how many examples at least.
DOCS = README.parent / "docs"
PAGES = {
    README: 20, DOCS / "random.md": 10, DOCS / "control.md": 12, DOCS / "transforms.md": 20,
    DOCS / "theano.md": 200, DOCS / "gpu.md": 12,
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_theano() -> Iterator[None]:
    """What docs/theano.md installs is gone afterwards."""
    yield
    uninstall()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page: Path) -> None:
    """All blocks together are one session, whose output must be what is printed there."""
    text = page.read_text(encoding="utf-8")
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    session: dict[str, Any] = {}
    reports: list[str] = []
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        test = parser.get_doctest(block[1], session, page.name, str(page), line)
        assert test.examples, f"{page.name}:{line} has no prompts, so nothing checks it"
        runner.run(test, out=reports.append, clear_globs=False)
        session = test.globs
    assert runner.tries > PAGES[page]
    assert not runner.failures, "".join(reports)


def test_links() -> None:
    links = LINK.findall(README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
