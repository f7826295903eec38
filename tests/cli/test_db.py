"""``workbench db``: look without touching, upgrade without losing."""

from typer.testing import CliRunner

from tests.store.conftest import postgres, url  # noqa: F401 - a database of either kind
from workbench.cli import app
from workbench.store import Store
from workbench.store.migrations import HEAD


def call(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["db", *arguments])


def test_db_status_of_a_store_not_yet_made_ends_with_code_1_and_makes_nothing(home):
    result = call("status")
    assert result.exit_code == 1
    assert "workbench db upgrade" in result.stderr
    assert not (home / "data").exists()


def test_db_upgrade_makes_the_store_and_again_changes_nothing(home, url, monkeypatch):  # noqa: F811
    monkeypatch.setenv("WORKBENCH_STORE__URL", url)
    first, again = call("upgrade"), call("upgrade")
    assert first.exit_code == again.exit_code == 0
    assert f"schema {HEAD} (was none)" in first.output
    assert f"schema {HEAD} (already)" in again.output
    assert call("status").exit_code == 0
    with Store.open() as store:
        assert store.runs().empty


def test_db_status_of_a_store_out_of_reach_ends_with_code_1(home, monkeypatch):
    (home / "x.db").write_bytes(b"x" * 5000)
    monkeypatch.setenv("WORKBENCH_STORE__URL", f"sqlite:///{home}/x.db")
    result = call("status")
    assert result.exit_code == 1
    assert "cannot be opened" in result.stderr
