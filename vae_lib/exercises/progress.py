"""What is done: read from the check cells' saved outputs, so there is no other state to lose."""

import json
import re
from pathlib import Path

from vae_lib.exercises.engine import VERDICTS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHECK = re.compile(r'^check\("(\d\d\.\d+)",\s*(\w+)\)\s*$')
VERDICT = re.compile(r"^[✓○✗] \d\d\.\d+ (correct|not attempted|not yet):", re.MULTILINE)


def saved_statuses(notebook: Path) -> dict[str, str]:
    """Status by exercise id, as the notebook's check cells last printed it; ValueError if it is no notebook."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return dict(filter(None, map(_status, cells)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"expected a Jupyter notebook, got {notebook} ({type(error).__name__})") from None


def _status(cell: dict) -> tuple[str, str] | None:
    """Id and status that a cell shows, if it is a check cell."""
    asked = CHECK.match("".join(cell["source"])) if cell["cell_type"] == "code" else None
    if not asked:
        return None
    said = VERDICT.search("".join("".join(output.get("text", [])) for output in cell["outputs"]))
    return asked[1], said[1] if said else "not attempted"


def summary(folder: Path = NOTEBOOKS, number: str = "") -> str:
    """A line a notebook: a mark for each exercise and how many are done. `number` restricts it to one notebook."""
    notebooks = sorted(folder.glob(f"{number}*.ipynb"))
    if not notebooks:
        raise ValueError(f"expected notebooks such as 00_what_an_image_costs.ipynb in {folder}, got none")
    lines, done, total = [], 0, 0
    for notebook in notebooks:
        statuses = saved_statuses(notebook)
        statuses |= {i: VERDICTS[i].status for i in statuses if i in VERDICTS}  # this kernel knows better than the disk
        marks = "".join({"correct": "✓", "not attempted": "○", "not yet": "✗"}[s] for s in statuses.values())
        correct = sum(status == "correct" for status in statuses.values())
        lines.append(f"{notebook.stem:<32} {marks:<6} {correct} of {len(statuses)}")
        done, total = done + correct, total + len(statuses)
    if len(notebooks) > 1:
        lines.append(f"{'all':<32} {'':<6} {done} of {total}")
    return "\n".join(lines)


def progress(number: str) -> None:
    """Print the progress in one notebook, for its last cell."""
    try:
        print(summary(number=number))
    except ValueError as error:
        print(f"progress: {error}")
