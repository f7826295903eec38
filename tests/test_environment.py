"""What gets installed is what was declared: the conda file and the lock against pyproject."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = DECLARED["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
ADDRESS = re.compile(r"://|\bgit\+|@\s*(https?|file):|(?m:^\s*(-i|-f|--\w*(index|find)[\w-]*)\b)")


def declared():
    rows = [("", text) for text in PROJECT["dependencies"]]
    rows += [(name, t) for name, texts in PROJECT["optional-dependencies"].items() for t in texts]
    rows += [("build", text) for text in DECLARED["build-system"]["requires"]]
    return [pytest.param(Requirement(text), id=f"{extra or 'base'}-{text}") for extra, text in rows]


def read_lock(text):
    """The requirements of a lock with the hashes of each."""
    rows = [row.split() for row in text.replace("\\\n", " ").splitlines() if row.strip()]
    parsed = []
    for words in rows:
        hashes = [word for word in words if word.startswith("--hash=")]
        parsed.append((Requirement(" ".join(words[: len(words) - len(hashes)])), hashes))
    return parsed


LOCK = read_lock((ROOT / "requirements.lock").read_text())


def satisfies(requirement, lock):
    """Whether every row that the lock has for a requirement is of a version that it admits."""
    pins = [
        next(iter(row.specifier)).version
        for row, _ in lock
        if canonicalize_name(row.name) == canonicalize_name(requirement.name)
    ]
    return bool(pins) and all(requirement.specifier.contains(pin) for pin in pins)


@pytest.mark.parametrize("requirement", declared())
def test_lock_has_every_dependency_in_a_version_that_is_admitted(requirement):
    assert satisfies(requirement, LOCK)


def test_lock_pins_every_row_exactly_and_with_hashes():
    for requirement, hashes in LOCK:
        assert [clause.operator for clause in requirement.specifier] == ["=="], requirement
        assert "*" not in str(requirement.specifier), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in hashes)


def test_satisfies_refuses_absent_and_wrong_versions():
    lock = read_lock("numpy==2.1.0 \\\n    --hash=sha256:00\n")
    assert satisfies(Requirement("NumPy>=2"), lock)
    assert not satisfies(Requirement("numpy>=2.2"), lock)
    assert not satisfies(Requirement("pandas"), lock)


def test_environment_has_the_python_of_pyproject_and_no_other_pin():
    conda = [row for row in CONDA["dependencies"] if isinstance(row, str)]
    (python,) = [row for row in conda if row.startswith("python")]
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    assert [row for row in conda if row != python] == ["pip"]


def test_environment_installs_the_lock_with_hashes():
    (row,) = [row for row in CONDA["dependencies"] if isinstance(row, dict)]
    assert row == {"pip": ["--require-hashes", "-r requirements.lock"]}


@pytest.mark.parametrize("name", ["environment.yml", "requirements.lock"])
def test_nothing_is_installed_from_an_address(name):
    assert ADDRESS.search((ROOT / name).read_text()) is None


@pytest.mark.parametrize(
    "line", ["--index-url https://x", "-i https://x", "a @ https://x/a.whl", "--find-links x"]
)
def test_address_is_recognised(line):
    assert ADDRESS.search(f"numpy==2.2.0\n{line}\n")
