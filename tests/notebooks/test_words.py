"""No word of the glossary before the cell that says what it is; the ledgers are what the notebooks print."""

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook
from test_notebooks import NOTEBOOKS
from words import glossary, used_before_said

from vae_lib import ledger


def test_every_word_of_the_glossary_is_said_before_it_is_used():
    found = used_before_said(NOTEBOOKS, glossary())
    assert not found, "\n" + "\n".join(found)


def test_a_word_that_comes_too_early_would_be_seen(tmp_path):
    texts = {
        "00": "The latent is small.",
        "01": "A **latent** is a hidden cause. The prior is one, too.",
        "02": "A prior.",
    }
    for number, text in texts.items():
        cells = [new_markdown_cell("# The latent, announced"), new_markdown_cell(text)]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{number}_x.ipynb")
    paths = sorted(tmp_path.glob("*.ipynb"))
    found = used_before_said(paths, [["latent"], ["prior"]])
    assert [line.partition(":")[0] for line in found] == ["00_x, cell 2", "prior", "01_x, cell 2", "02_x, cell 2"]
    assert used_before_said(paths[1:], [["latent"]]) == []


def test_the_ledgers_hold_what_the_committed_notebooks_print():
    collected = ledger.collect()
    assert all(collected.values())
    for name, lines in collected.items():
        kept = ledger.read(name)
        assert [line[:2] for line in kept] == [line[:2] for line in lines]
        assert all(abs(a.bits - b.bits) <= 0.0051 for a, b in zip(kept, lines, strict=True))
