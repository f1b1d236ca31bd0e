"""Every rule over every notebook as it is stored; nbval executes them."""

import nbformat
import pytest
from notebook_rules import ROOT, RULES, load, violations

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks_numbered_and_valid():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert path.name[:2].isdigit() and path.name[2] == "_"
        nbformat.validate(load(path))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_the_notebook_keeps_the_rule(path, rule):
    found = violations(rule, path)
    assert not found, "\n" + "\n".join(found)
