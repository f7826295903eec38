"""The rules of committed notebooks, as a checker: thin, literal, explained, recorded and bare."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from workbench.core.errors import JobError
from workbench.jobs.parameters import parse_parameters

MAX_CELL = 10
MAX_NOTEBOOK = 80
HEADS = ("What", "Why", "Reads", "Writes", "Decides")
ALLOWED = frozenset({"workbench", "numpy", "pandas", "plotly"})
FORBIDDEN = frozenset({"workbench.backtest", "workbench.store", "workbench.exchange"})
BRANCHES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.For, ast.AsyncFor,
    ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match,
)  # fmt: skip
NAME = re.compile(r"^[1-9]0_[a-z][a-z0-9_]*$")
KEPT = "keep_output"


def find_faults(path: Path) -> list[str]:
    """Return every breach of the rules in a committed notebook, one sentence each."""
    notebook = nbformat.read(path, as_version=4)
    name = [] if NAME.match(path.stem) else [f"{path.stem} is not named NN_verb_or_object"]
    return [*name, *check(notebook)]


def check(notebook: NotebookNode) -> list[str]:
    """Return every breach of the rules inside a notebook."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code:
        return ["there is no code cell"]
    faults = [*_head(notebook.cells[0]), *_parameters(code[0]), *_above(notebook)]
    for number, cell in enumerate(code, start=1):
        faults += [f"code cell {number}: {fault}" for fault in (*_code(cell), *_bare(cell))]
    total = sum(count_lines(cell.source) for cell in code)
    if total > MAX_NOTEBOOK:
        faults.append(f"{total} code lines in all, more than {MAX_NOTEBOOK}")
    if notebook.cells[-1] is not code[-1] or not _records(code[-1]):
        faults.append("the last cell does not call record")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        faults.append("the kernel is not python3")
    return faults


def count_lines(source: str) -> int:
    """Return the lines of code, comments and blanks left out."""
    lines = (line.strip() for line in source.splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _head(cell: NotebookNode) -> Iterator[str]:
    if cell.cell_type != "markdown" or not cell.source.startswith("# "):
        yield "cell 1 is not a text with a title"
    for head in HEADS:
        if f"**{head}**" not in cell.source:
            yield f"cell 1 does not say {head}"


def _parameters(cell: NotebookNode) -> Iterator[str]:
    if "parameters" not in cell.metadata.get("tags", []):
        yield "the first code cell is not tagged parameters"
        return
    try:
        known = parse_parameters(cell.source)
    except JobError as error:
        yield str(error)
        return
    if "SEED" not in known:
        yield "there is no SEED"
    for parameter in known.values():
        if not parameter.comment:
            yield f"{parameter.name} has no comment on its unit"


def _above(notebook: NotebookNode) -> Iterator[str]:
    before = None
    for cell in notebook.cells:
        if cell.cell_type == "code" and (before is None or before.cell_type != "markdown"):
            yield f"no sentence above the cell {cell.source.splitlines()[:1]}"
        before = cell


def _code(cell: NotebookNode) -> Iterator[str]:
    n_lines = count_lines(cell.source)
    # A list of parameters is as long as it must be.
    if n_lines > MAX_CELL and "parameters" not in cell.metadata.get("tags", []):
        yield f"{n_lines} code lines, more than {MAX_CELL}"
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        yield f"is not plain Python: {error.msg}"
        return
    for node in ast.walk(tree):
        if isinstance(node, BRANCHES):
            yield f"{type(node).__name__} in line {node.lineno}: code belongs in the package"
        for module in _imported(node):
            room = ".".join(module.split(".")[:2])
            if module.split(".")[0] not in ALLOWED or room in FORBIDDEN:
                yield f"imports {module}"


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _bare(cell: NotebookNode) -> Iterator[str]:
    is_kept = KEPT in cell.metadata.get("tags", [])
    if cell.execution_count is not None or (cell.outputs and not is_kept):
        yield "holds outputs or counts: run nbstripout"


def _records(cell: NotebookNode) -> bool:
    calls = (node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call))
    names = {getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls}
    return "record" in names
