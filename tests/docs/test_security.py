"""Each promise of docs/security.md names a test that there is."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"\| (tests/\S+) \|", (ROOT / "docs" / "security.md").read_text("utf-8"))


def test_the_page_makes_promises():
    assert len(NAMED) > 20


@pytest.mark.parametrize("name", NAMED)
def test_the_test_of_a_promise_exists(name):
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    tests = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert function in tests if function else tests
