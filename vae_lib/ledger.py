"""The course's two ledgers, in bits per pixel: what each notebook's model or file costs (built in notebook 01).

`fashion_mnist` is about the 10,000 images of the official test set (notebooks 00 to 09), `photograph` about one
photograph (10 to 13). A notebook opens with the lines before its own and closes with its own, which a cell has
measured. `data/ledger.json` holds what the notebooks printed; `python -m vae_lib.ledger` collects it anew.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vae_lib.images import DATA_FOLDER

FILE = DATA_FOLDER / "ledger.json"
NOTEBOOKS = DATA_FOLDER.parent / "notebooks"
PRINTED = re.compile(r"^(\d\d)  (.+?)  +(\d+\.\d{3})  (.+)$", re.MULTILINE)


class Line(NamedTuple):
    """One entry."""

    notebook: str  # "02"
    item: str  # what is stored, and how; at most 44 characters
    bits: float  # per pixel
    reason: str  # why it differs from the line before it


def opening(notebook: str, ledger: str = "fashion_mnist") -> None:
    """Print the lines of the notebooks before this one."""
    show(line for line in read(ledger) if line.notebook < notebook)


def closing(notebook: str, lines: Iterable[tuple[str, float, str]]) -> None:
    """Print this notebook's own lines: (item, bits per pixel, reason) each."""
    show(Line(notebook, item, float(bits), reason) for item, bits, reason in lines)


def show(lines: Iterable[Line]) -> None:
    """Print lines as a table."""
    for line in lines:
        print(f"{line.notebook}  {line.item:44}  {line.bits:.3f}  {line.reason}")


def read(ledger: str) -> list[Line]:
    """The lines of a ledger, in the order of the notebooks."""
    return [Line(*line) for line in json.loads(FILE.read_text(encoding="utf-8"))[ledger]]


def collect(folder: Path = NOTEBOOKS) -> dict[str, list[Line]]:
    """The lines that the committed notebooks print in the cells that call `closing`."""
    ledgers: dict[str, list[Line]] = {"fashion_mnist": [], "photograph": []}
    for path in sorted(folder.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code" and re.search(r"^ledger\.closing\(", "".join(cell["source"]), re.MULTILINE):
                text = "".join("".join(output.get("text", "")) for output in cell["outputs"])
                lines = [Line(n, item, float(bits), reason) for n, item, bits, reason in PRINTED.findall(text)]
                ledgers["fashion_mnist" if path.name < "10" else "photograph"] += lines
    return ledgers


if __name__ == "__main__":
    FILE.write_text(json.dumps(collect(), indent=1) + "\n", encoding="utf-8")
