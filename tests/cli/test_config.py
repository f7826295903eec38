"""``workbench config show`` shows every value and its origin, and no secret."""

from typer.testing import CliRunner

from workbench.cli import app
from workbench.core.config import config_settings, load_config


def show(*arguments):
    # So wide that no path of a temporary folder, long under xdist, is folded into a second line.
    return CliRunner(env={"COLUMNS": "1000"}).invoke(app, ["config", "show", *arguments])


def test_config_show_prints_each_value_and_where_it_came_from(home, monkeypatch):
    (home / "workbench.toml").write_text("[costs]\ntaker_fee_bps = 4.25\n")
    monkeypatch.setenv("WORKBENCH_SEED", "11")
    output = show("--profile", "paper").output
    lines = {line.split()[1]: line for line in output.splitlines() if line.startswith("│")}
    assert set(lines) == set(config_settings(load_config()))
    assert "4.25" in lines["costs.taker_fee_bps"]
    assert "workbench.toml" in lines["costs.taker_fee_bps"]
    assert "WORKBENCH_SEED" in lines["seed"]
    assert "argument" in lines["profile"]
    assert "default" in lines["costs.impact"]


def test_config_show_masks_secrets(home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_PANELS__TOKEN", "hunter2 hunter2 hunter2")
    output = show().output
    assert "hunter2" not in output
    assert "**********" in output


def test_config_show_with_an_unknown_key_ends_with_code_1(home):
    (home / "workbench.toml").write_text("sede = 1\n")
    result = show()
    assert result.exit_code == 1
    assert "Did you mean seed?" in result.stderr
