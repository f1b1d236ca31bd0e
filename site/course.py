"""What Sphinx is taught about the course: generated pages, and what each notebook's page gets beside its text.

Notebooks stay as they are. Their pages link the first mention of each term to the glossary, modules to the library's
page, publications to where they can be read, and say how to run what one reads; each exercise has an anchor and a label
(`exercise-01.2`).
"""

import re
from pathlib import Path

import generated
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

GLOSSARY = Path(__file__).with_name("notation.md")
NOT_PROSE = (
    nodes.title,
    nodes.literal,
    nodes.literal_block,
    nodes.reference,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.caption,
    addnodes.pending_xref,
    nodes.pending,
)
PUBLICATION = re.compile(r"arXiv:(?P<arxiv>\d{4}\.\d{4,5})|doi:(?P<doi>10\.\d+/[\w./-]*\w)")


def glossary_terms(text: str) -> list[list[str]]:
    """The entries of the glossary, each with all its spellings; the first line of an entry is its name."""
    block = re.search(r"^:::\{glossary\}\n(.*?)^:::", text, re.DOTALL | re.MULTILINE)
    entries = re.split(r"\n\n", block[1].strip()) if block else []
    return [[line for line in entry.split("\n") if not line.startswith(" ")] for entry in entries]


def mention(term: str) -> str:
    """Pattern of a term in running text: one with capitals as it stands, others in any case."""
    words = re.escape(term).replace(r"\ ", r"\s+") + "s?"
    return rf"(?<![\w-]){words if re.search('[A-Z]', term) else f'(?i:{words})'}(?![\w-])"


class Generated(SphinxDirective):
    """`{generated} NAME`: the Markdown that generated.py's function of this name returns."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        for path in generated.SOURCES:
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(generated.PAGES[self.arguments[0]](), allow_section_headings=True)


class NotebookPage(SphinxTransform):
    """A base for what happens to the notebooks' pages alone."""

    default_priority = 600

    def apply(self, **kwargs: object) -> None:
        if self.env.docname.startswith("notebooks/"):
            self.env.note_dependency(__file__)
            self.change()

    def change(self) -> None:
        raise NotImplementedError

    def prose(self) -> list[nodes.Text]:
        def inside(node: nodes.Node) -> bool:
            return node is not None and (isinstance(node, NOT_PROSE) or inside(node.parent))

        return [text for text in self.document.findall(nodes.Text) if not inside(text.parent)]


class LinkTerms(NotebookPage):
    """The first mention of each term of the glossary becomes a link to it."""

    def change(self) -> None:
        self.env.note_dependency(str(GLOSSARY))
        entries = glossary_terms(GLOSSARY.read_text(encoding="utf-8"))
        entry_of = {spelling: number for number, entry in enumerate(entries) for spelling in entry}
        longest_first = sorted(entry_of, key=len, reverse=True)
        pattern = re.compile("|".join(f"(?P<t{i}>{mention(term)})" for i, term in enumerate(longest_first)))
        seen: set[int] = set()
        for text in self.prose():
            parts: list[nodes.Node] = []
            end = 0
            for match in pattern.finditer(text):
                term = longest_first[int(match.lastgroup[1:])]
                if entry_of[term] in seen:
                    continue
                seen.add(entry_of[term])
                link = addnodes.pending_xref(
                    "", refdomain="std", reftype="term", reftarget=term, refexplicit=True, refwarn=True
                )
                link["refdoc"] = self.env.docname
                link += nodes.inline("", match[0], classes=["term"])
                parts += [nodes.Text(text[end : match.start()]), link]
                end = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[end:])])


class LinkPublications(NotebookPage):
    """`arXiv:...` and `doi:...` become links."""

    def change(self) -> None:
        for text in self.prose():
            parts: list[nodes.Node] = []
            end = 0
            for match in PUBLICATION.finditer(text):
                address = generated.address(match)
                parts += [nodes.Text(text[end : match.start()]), nodes.reference("", match[0], refuri=address)]
                end = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[end:])])


class LinkModules(NotebookPage):
    """`vae_lib.gaussian` becomes a link to what that module holds."""

    def change(self) -> None:
        modules = {f"vae_lib.{path.stem}": f"module-{path.stem}" for path in generated.MODULES}
        for literal in list(self.document.findall(nodes.literal)):
            if literal.astext() in modules and not isinstance(literal.parent, (nodes.title, nodes.reference)):
                link = addnodes.pending_xref(
                    "",
                    refdomain="std",
                    reftype="ref",
                    reftarget=modules[literal.astext()],
                    refexplicit=True,
                    refwarn=True,
                )
                link["refdoc"] = self.env.docname
                link += literal.deepcopy()
                literal.parent.replace(literal, link)


class AnchorExercises(NotebookPage):
    """Every exercise can be linked to: `exercise-01.2` is a label, and an anchor of the page."""

    default_priority = 610

    def change(self) -> None:
        labels = self.env.domains.standard_domain
        for section in self.document.findall(nodes.section):
            title = section.next_node(nodes.title).astext()
            found = re.match(r"Exercise (\d\d\.\d+) · (.+?) [●○]", title)
            if found:
                label, anchor = f"exercise-{found[1]}", f"exercise-{found[1].replace('.', '-')}"
                section["ids"].insert(0, anchor)
                labels.labels[label] = self.env.docname, anchor, found[2]
                labels.anonlabels[label] = self.env.docname, anchor


class SayHowToRun(NotebookPage):
    """After the line of what a notebook needs: the command that opens it, and the notebook itself."""

    default_priority = 620

    def change(self) -> None:
        name = self.env.docname.partition("/")[2] + ".ipynb"
        needs = next((p for p in self.document.findall(nodes.paragraph) if p.astext().startswith("Needs ")), None)
        if needs is None:
            raise ValueError(f"expected a paragraph that starts with '*Needs*' in {name}, got none")
        line = nodes.paragraph(classes=["run-this"])
        line += nodes.Text("Run it: ")
        line += nodes.literal(text=f"uv run jupyter lab notebooks/{name}", classes=["command"])
        line += nodes.Text(" · ")
        line += nodes.reference("", "download the notebook", refuri=f"../_sources/notebooks/{name}")
        needs.parent.insert(needs.parent.index(needs) + 1, line)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("generated", Generated)
    for transform in (LinkTerms, LinkPublications, LinkModules, AnchorExercises, SayHowToRun):
        app.add_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
