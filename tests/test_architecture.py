"""The shape of the whole: who imports what, what loads when, and what is named where."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from workbench.cli.root import COMMANDS, load_command
from workbench.core.config import config_settings, load_config

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "workbench"
MODULES = sorted(PACKAGE.rglob("*.py"))
README = (ROOT / "README.md").read_text()

# Which library enters through which modules of the package, and no other.
DOORS = {
    "alembic": ["store"],
    "anywidget": ["panels"],
    "apprise": ["monitor.alerts"],
    "ccxt": ["data.venues"],
    "cryptography": ["core.vault", "evidence"],
    "dask": ["jobs"],
    "distributed": ["jobs"],
    "fastapi": ["api", "exchange.server"],
    "ipywidgets": ["panels"],
    "numba": ["backtest"],
    "optuna": ["research.space", "research.study"],
    "papermill": ["jobs"],
    "polars": ["data"],
    "pybit": ["exchange.client"],
    "sqlalchemy": ["store"],
    "typer": ["cli"],
    "vectorbt": ["backtest.report"],
    "websockets": ["exchange.streams"],
}
PURE = ["features", "models", "strategies", "risk", "portfolio", "backtest", "validation"]
LIVE = ["live", "execution", "api"]
# What the file of a strategy or a notebook raises can be anything; both are raised again, with the
# file named in the error or in the run that is recorded as failed.
CATCH_ALL = {
    **{"strategies/registry.py": 1, "jobs/run.py": 1},
    # Nothing may keep the supervisor from its next turn, nor a channel of alerts the others: both
    # tell what it was.
    **{"live/watch.py": 1, "monitor/alerts.py": 1},
    # What one strategy raises in the engine fails that strategy, is told, and stops no other.
    "live/roster.py": 1,
    # What a probed strategy raises is reported, whatever it is.
    "validation/inquiry.py": 1,
}
HEAVY = [
    *["alembic", "anywidget", "ipywidgets", "numba", "numpy", "pandas", "papermill", "plotly"],
    *["polars", "pybit", "pydantic", "sqlalchemy", "statsmodels", "vectorbt"],
]


def module_of(path):
    """The dotted name of a file of the package, without the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(source):
    """The top-level names of everything that a source imports when it runs, wherever it does."""
    waiting, found = [ast.parse(source)], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            words = [word for word in node.args[:1] if isinstance(word, ast.Constant)]
            found |= {str(word.value).partition(".")[0] for word in words}
        waiting += node.orelse if _is_type_checking(node) else ast.iter_child_nodes(node)
    return found


def wrong_doors(module, source):
    """The libraries that a module imports without being their door."""
    return sorted(
        name
        for name in imports(source) & DOORS.keys()
        if not any(f"{module}.".startswith(f"{door}.") for door in DOORS[name])
    )


def catch_alls(source):
    """How many handlers of a source catch everything."""
    handlers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)]
    wide = {"Exception", "BaseException"}
    return sum(
        handler.type is None
        or bool(wide & {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)})
        for handler in handlers
    )


def loaded_by(code):
    """Which heavy libraries a fresh interpreter has loaded after some code."""
    tail = f"\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    seen = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return seen.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_module_imports_libraries_only_through_their_doors(path):
    assert wrong_doors(module_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("research", "import polars", ["polars"]),
        ("backtest.run", "def f():\n    from vectorbt import Portfolio", ["vectorbt"]),
        ("exchange.clients", "from pybit.unified_trading import HTTP", ["pybit"]),
        ("panels.run", "importlib.import_module('papermill.iorw')", ["papermill"]),
        ("api", "if TYPE_CHECKING:\n    pass\nelse:\n    import typer", ["typer"]),
        ("research", "if TYPE_CHECKING:\n    import polars", []),
        ("exchange.client", "from pybit.unified_trading import HTTP", []),
        ("store.migrations.env", "import alembic, sqlalchemy.orm", []),
    ],
)
def test_wrong_doors_finds_a_planted_import(module, source, wrong):
    assert wrong_doors(module, source) == wrong


def test_import_contracts_are_kept():
    program = str(Path(sys.executable).with_name("lint-imports"))
    seen = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert seen.returncode == 0, seen.stdout + seen.stderr


def test_import_contracts_fence_every_pure_and_every_live_room_that_is_there():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    fenced = [set(row.get("source_modules", ())) for row in table["contracts"]]

    def names(rooms):
        there = [room for room in rooms if any((PACKAGE / room).glob("*.py"))]
        return {f"workbench.{room}" for room in there}

    assert names(PURE) in fenced
    assert not names(LIVE) or names(LIVE) in fenced


def test_import_workbench_loads_nothing_heavy():
    assert loaded_by("import workbench") == []


def test_help_loads_nothing_heavy():
    code = "import sys\nsys.argv[1:] = ['--help']\nfrom workbench.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    assert loaded_by(code) == []


def test_loaded_by_sees_what_a_library_brings_along():
    assert {"numpy", "pandas"} <= set(loaded_by("import pandas"))


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_module_is_named_by_one_short_word(path):
    if "versions" in path.parts and path.stem != "__init__":
        assert re.fullmatch(r"v\d{4}_[a-z0-9_]+", path.stem)
        return
    name = path.parent.name if path.stem in ("__init__", "__main__") else path.stem
    assert re.fullmatch(r"[a-z][a-z0-9]*", name)
    assert len(name) <= 12
    assert name not in {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}
    # Deeper down the package's prefix keeps a name apart from the standard library's.
    assert path.parent != PACKAGE or name not in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_module_catches_everything_only_where_it_is_allowed(path):
    allowed = CATCH_ALL.get(path.relative_to(PACKAGE).as_posix(), 0)
    assert catch_alls(path.read_text()) == allowed


@pytest.mark.parametrize("clause", ["", " Exception", " (ValueError, Exception) as e"])
def test_catch_alls_finds_a_planted_handler(clause):
    assert catch_alls(f"try:\n    f()\nexcept{clause}:\n    pass") == 1


def test_research_alone_writes_trials():
    """DESIGN 6: no look at a result goes uncounted, and nobody else counts one."""
    calls = [path for path in MODULES if re.search(r"\.add_trials\(", path.read_text())]
    assert {module_of(path).split(".")[0] for path in calls} == {"research"}


def commands():
    """Every command as it is typed."""
    words = []
    for name in COMMANDS:
        below = getattr(load_command(name), "commands", None)
        words += [f"{name} {sub}" for sub in below] if below else [name]
    return words


def test_readme_names_every_command():
    assert [w for w in commands() if not re.search(rf"`workbench {w}(?![\w-])", README)] == []


def test_readme_names_every_setting(home):
    keys = config_settings(load_config())
    assert [key for key in keys if f"`{key}`" not in README] == []


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name]


# Spelt apart, so that this file does not name what it forbids.
MACHINE = re.compile(r"(?<![\w.~$}>-])/(?:root|home|work)/\w|\bfile://" + "/")
REGISTRY = re.compile(r"\bpy" + r"(?:pi|thonhosted)\.org|\bproxy\.gol" + r"ang\.org")


def naming_places(text):
    return [match[0] for match in (*MACHINE.finditer(text), *REGISTRY.finditer(text))]


def test_nothing_tracked_names_a_place_of_one_machine_or_a_registry():
    found = {}
    for name in tracked():
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".parquet", ".zst"}:
            places = naming_places(path.read_text(encoding="utf-8"))
            if places:
                found[name] = places
    assert found == {}


@pytest.mark.parametrize(
    "text", ["x = '/ro" + "ot/a'", "/wo" + "rk/main", "https://py" + "pi.org/simple"]
)
def test_naming_places_finds_a_planted_one(text):
    assert naming_places(text)
