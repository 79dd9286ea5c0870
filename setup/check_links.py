# SPDX-License-Identifier: GPL-2.0-or-later
"""Check that references within this project lead somewhere.

In documents: links with their anchors, and paths below the clone's top directories. In all sources:
the names of documents. In the texts of rules: where "see" leads.
"""

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
_FENCE = re.compile(r"^ *```")
_HEADING = re.compile(r"^#+ +(?P<text>.+?) *#*$")
# Not after a word, "/" or "$", which begin another path. Not before what makes it a pattern.
_PATH = r"(?<![\w/.~$}})-])(?:{tops})/[\w./-]*[\w](?![\w*{{<$\[…]|/[*{{<$\[])"
_PACKAGE = "drgn_scripts/pageproof/"
#: References that a rule may have outside of this project: kernel sources, manuals, drgn.
_ELSEWHERE = re.compile(
    r"(?:arch|block|Documentation|drivers|fs|include|io_uring|ipc|kernel|lib|mm|net|security|virt)/\S"
    r"|Intel SDM (?:volume )?\d|AMD APM|[\w-]+\(\d\w?\)|drgn's "
)
_REFERENCE = 5  # its place among Rule's arguments
_MARKDOWN = re.compile(r"(?<![\w/.*-])[\w-]+\.md\b")


@dataclass
class Project:
    """The files of a clone by their paths, and what is derived from them."""

    texts: Mapping[str, str]  # of Markdown files; "" for all others
    known: set[str] = field(init=False)
    markdown: set[str] = field(init=False)
    path: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self.known = set(self.texts)
        for name in self.texts:
            while name := posixpath.dirname(name):
                self.known.add(name)
        self.markdown = {posixpath.basename(n) for n in self.texts if n.endswith(".md")}
        tops = {name.partition("/")[0] for name in self.texts if "/" in name}
        self.path = re.compile(_PATH.format(tops="|".join(map(re.escape, sorted(tops)))))

    def anchors(self, name: str) -> set[str]:
        """Return the anchors of a Markdown file's headings, as viewers make them."""
        found = set()
        for _, line in _outside_fences(self.texts[name]):
            if match := _HEADING.match(line):
                words = re.sub(r"[^\w\- ]", "", match["text"].lower())
                found.add(words.replace(" ", "-"))
        return found


def _outside_fences(text: str) -> Iterator[tuple[int, str]]:
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


def link_faults(name: str, text: str, project: Project) -> Iterator[tuple[int, str]]:
    """Yield (line number, what is wrong) for the links and paths in one file.

    name: path from the top of the clone, with slashes. text: its content.
    """
    linked = []
    if name.endswith(".md"):
        for number, line in _outside_fences(text):
            for match in _LINK.finditer(line):
                linked.append((number, match["target"]))
                if what := _link_fault(name, match["target"], project):
                    yield number, what
    targets = {target for _, target in linked}
    if name.startswith(f"{_PACKAGE}judge/") and name.endswith(".py"):
        for number, reference in references(text):
            if what := reference_fault(reference, project):
                yield number, what
    for number, line in enumerate(text.splitlines(), 1):
        for match in project.path.finditer(line) if name.endswith(".md") else ():
            if match[0] not in project.known and match[0] not in targets:
                yield number, f"{match[0]}: no such file"
        for match in _MARKDOWN.finditer(line):
            if match[0] not in project.markdown and match[0] not in targets:
                yield number, f"{match[0]}: no such document"


def _link_fault(name: str, target: str, project: Project) -> str | None:
    if _SCHEME.match(target):
        return None
    path, _, anchor = target.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
    if file not in project.known:
        return f"link to {target}: no such file"
    if anchor and (not file.endswith(".md") or anchor not in project.anchors(file)):
        return f"link to {target}: no such heading"
    return None


def references(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, reference) of each rule that a Python source makes."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        given = [word.value for word in node.keywords if word.arg == "reference"]
        if isinstance(node.func, ast.Name) and node.func.id == "Rule":
            given += node.args[_REFERENCE : _REFERENCE + 1]
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def reference_fault(reference: str, project: Project) -> str | None:
    """Return what is wrong with a rule's reference: to a file of this project or to elsewhere."""
    for part in reference.split("; "):
        path = re.split(r"[,: ]", part, maxsplit=1)[0].rstrip("/")
        if path in project.known or _PACKAGE + path in project.known or _ELSEWHERE.match(part):
            continue
        return f"reference to {part!r}: neither a file here nor kernel source nor a manual"
    return None
