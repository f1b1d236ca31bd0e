"""The map of the house, drawn from the code: `uv run python tests/house.py` renews it in site/contributing.md."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY, PAGE = ROOT / "vae_lib", ROOT / "site" / "contributing.md"
CORE = (  # what notebooks build, each at the top of the library; a later room may import an earlier one
    "images metrics ledger entropy_coding neighbours inference gaussian linear_gaussian likelihoods networks vae "
    "training bits_back decoder transforms entropy_models codec rate_distortion plotting benchmark"
).split()
WORKSHOP = (  # what made the committed weights and results: it may import the core and what stands before it here
    "workshop.parallel workshop.fashion_vaes workshop.integer_networks workshop.integer_mixtures workshop.integer_vae "
    "workshop.bits_back_file workshop.lossless_benchmark workshop.freezing workshop.search "
    "workshop.benchmark_report workshop.codec_training workshop.ablation"
).split()
FURNITURE = ("plotting", "ledger")  # in every notebook, built in none: figures in one style, and the ledger's lines
ROOMS = CORE + WORKSHOP


def path_of(room: str) -> Path:
    return LIBRARY / f"{room.replace('.', '/')}.py"


def imports(path: Path) -> set[str]:
    """What a file imports of the library, at its top or inside a function, in dotted names without vae_lib."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, ["vae_lib" if node.level else "", node.module]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("vae_lib.") for name in found if name.startswith("vae_lib.")}


def rooms(names: set[str]) -> set[str]:
    """The rooms among imported names."""
    return {room for room in ROOMS if any(f"{name}.".startswith(f"{room}.") for name in names)}


def house_map() -> str:
    """A table: each room, what it is (its first sentence), what it imports."""
    lines = ["| room | what it is | imports |", "|---|---|---|"]
    for room in ROOMS:
        says = ast.get_docstring(ast.parse(path_of(room).read_text(encoding="utf-8"))) or ""
        first = re.split(r"\.\s|\.$|\n\n", says, maxsplit=1)[0].replace("\n", " ").replace("|", "/")
        needs = ", ".join(f"`{other}`" for other in ROOMS if other in rooms(imports(path_of(room))))
        lines.append(f"| `{room}` | {first} | {needs} |")
    return "\n".join(lines)


def with_map(page: str) -> str:
    """The page with the map as the code has it now."""
    return re.sub(r"(<!-- map -->\n).*?(\n<!-- end of map -->)", lambda m: m[1] + house_map() + m[2], page, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(with_map(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
