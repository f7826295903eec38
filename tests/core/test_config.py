"""The configuration must never guess: layers, origins, refusals and masks (CF-01, CF-02, CF-03)."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.config import (
    LIVE_CHOICES,
    Config,
    StoreSettings,
    config_origins,
    config_settings,
    load_config,
)
from workbench.core.costs import Costs
from workbench.core.errors import ConfigError, SecretError
from workbench.core.layers import find_root

TOKEN = "a token that nobody may see"  # not a real one

PROFILES = "'dev', 'test', 'paper', 'demo', 'testnet' or 'live'"


@pytest.fixture(autouse=True)
def _in_a_fresh_project(home: Path) -> Path:
    return home


def write(name: str, text: str) -> None:
    Path(name).write_text(text)


def test_load_config_without_anything_gives_defaults(home, monkeypatch):
    monkeypatch.delenv("WORKBENCH_DATA_DIR")
    config = load_config()
    assert config.profile == "dev"
    assert config.data_dir == home / "data"
    assert (config.lake_dir, config.runs_dir) == (home / "data/lake", home / "data/runs")
    assert config.store.url == f"sqlite:///{home}/data/workbench.db"
    assert config.costs == Costs()
    assert set(config_origins(config).values()) == {"default"}


def test_load_config_layers_by_precedence(monkeypatch):
    write("workbench.toml", "seed = 1\n[panels]\nport = 1001\nhost = 'a'\n[costs]\nimpact = 0.1\n")
    write("workbench.paper.toml", "seed = 2\n[panels]\nport = 1002\n")
    monkeypatch.setenv("WORKBENCH_SEED", "3")
    monkeypatch.setenv("WORKBENCH_PANELS__PORT", "1003")
    config = load_config(profile="paper", overrides={"seed": 4})
    origins = config_origins(config)
    assert (config.seed, origins["seed"]) == (4, "argument")
    assert (config.panels.port, origins["panels.port"]) == (1003, "WORKBENCH_PANELS__PORT")
    assert (config.panels.host, origins["panels.host"]) == ("a", "workbench.toml")
    assert origins["profile"] == "argument"
    monkeypatch.delenv("WORKBENCH_PANELS__PORT")
    monkeypatch.delenv("WORKBENCH_SEED")
    config = load_config(profile="paper")
    assert (config.seed, config_origins(config)["seed"]) == (2, "workbench.paper.toml")
    assert config.panels.port == 1002
    assert load_config().seed == 1


@settings(max_examples=30, deadline=None)
@given(given_at=st.sets(st.sampled_from(["file", "profile", "variable", "argument"])))
def test_load_config_always_takes_the_highest_layer_that_speaks(given_at):
    with pytest.MonkeyPatch.context() as patch:
        write("workbench.toml", "[costs]\nimpact = 1.0\n" if "file" in given_at else "")
        write("workbench.test.toml", "[costs]\nimpact = 2.0\n" if "profile" in given_at else "")
        if "variable" in given_at:
            patch.setenv("WORKBENCH_COSTS__IMPACT", "3.0")
        overrides = {"costs.impact": 4.0} if "argument" in given_at else {}
        config = load_config(profile="test", overrides=overrides)
    order = ["file", "profile", "variable", "argument"]
    highest = max((order.index(layer) + 1 for layer in given_at), default=0)
    assert config.costs.impact == float(highest)


def test_load_config_with_a_partial_section_keeps_its_other_defaults():
    write("workbench.toml", "[costs]\ntaker_fee_bps = 3.0\n[account]\nleverage = 2\n[store]\n")
    config = load_config()
    assert config.costs == Costs(taker_fee_bps=3.0)
    assert (config.account.leverage, config.account.capital_usdt) == (2.0, 10_000.0)
    assert config.store.url.endswith("workbench.db")


def test_load_config_takes_overrides_nested_dotted_and_as_records():
    nested = load_config(overrides={"costs": {"impact": 0.5}})
    dotted = load_config(overrides={"costs.impact": 0.5})
    record = load_config(overrides={"costs": Costs(impact=0.5)})
    assert nested.costs == dotted.costs == record.costs == Costs(impact=0.5)


def test_load_config_takes_a_section_as_json_from_one_variable(monkeypatch):
    monkeypatch.setenv("WORKBENCH_COSTS", '{"impact": 0.5}')
    monkeypatch.setenv("WORKBENCH_COSTS__SPREAD_BPS", "4")
    config = load_config()
    assert config.costs == Costs(impact=0.5, spread_bps=4.0)
    assert config_origins(config)["costs.impact"] == "WORKBENCH_COSTS"


def test_load_config_merges_strategies_across_files():
    write("workbench.toml", "[strategies]\nmine = 'mine.py:Mine'\n")
    write("workbench.dev.toml", "[strategies]\nyours = 'pkg.mod:Yours'\n")
    assert load_config().strategies == {"mine": "mine.py:Mine", "yours": "pkg.mod:Yours"}


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("sed = 1", "seed"),
        ("[cost]\nimpact = 1", "costs"),
        ("[costs]\ntaker_fee = 1", "costs.taker_fee_bps"),
        ("[store.url]\nx = 1", "store.url"),
        ("[cost]", "costs"),
    ],
)
def test_load_config_with_an_unknown_key_names_file_and_nearest(text, near):
    write("workbench.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert "workbench.toml" in caught.value.what
    assert near in caught.value.what + caught.value.fix


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("WORKBENCH_DATADIR", "data_dir"),
        ("WORKBENCH_COSTS__TAKER_FEE", "costs.taker_fee_bps"),
        ("workbench_sed", "seed"),
        ("WORKBENCH_SEED__X", "knows no keys"),
    ],
)
def test_load_config_with_a_misspelt_variable_is_refused(monkeypatch, name, near):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert name in caught.value.what
    assert near in caught.value.fix


@pytest.mark.parametrize(
    "name", ["WORKBENCH_SHARED_DATA", "WORKBENCH_REQUIRE_SHARED_DATA", "WORKBENCH_RUN_ID"]
)
def test_load_config_lets_known_other_variables_pass(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    assert load_config().profile == "dev"


def test_load_config_with_an_unknown_override_is_refused():
    with pytest.raises(ConfigError, match=r"account\.capital .*argument.*account\.capital_usdt"):
        load_config(overrides={"account.capital": 1})


@pytest.mark.parametrize(
    ("text", "shown", "allowed"),
    [
        ("seed = 'many'", "seed = 'many'", "valid integer"),
        ("seed = -1", "seed = -1", "greater than or equal to 0"),
        ("profile = 'prod'", "profile = 'prod'", PROFILES),
        ("[panels]\nport = 70000", "panels.port = 70000", "less than or equal to 65535"),
        ("[costs]\nspread_bps = -1", "costs.spread_bps = -1", "maker_fee_bps may be negative"),
        ("[costs]\nimpact = inf", "costs.impact = inf", "finite"),
        ("[account]\nmargin_leverage = 0.5", "account.margin_leverage = 0.5", "at least 1"),
        ("[account]\nleverage = 50", "account.leverage = 50", "margin_leverage"),
        ("[exchange]\nrest_url = 'http://x.org'", "exchange.rest_url", "https"),
        ("[exchange]\nrest_url = 'https://me:x@api.org'", "https://me:***@", "without a name"),
        ("[exchange]\nrest_url = 'bybit'", "exchange.rest_url", "https://api.bybit.com"),
        ("[store]\nurl = 'mysql://h/n'", "store.url", "sqlite:///"),
        ("[strategies]\nmine = 'mine.py'", "strategies.mine = 'mine.py'", "file.py:Class"),
        ("data_dir = 3", "data_dir = 3", "path"),
        ("store = 3", "store", "section"),
        ("costs = 3", "costs", "section"),
        ("strategies = 'x'", "strategies", "section"),
    ],
)
def test_load_config_with_a_bad_value_says_where_what_and_allowed(
    monkeypatch, text, shown, allowed
):
    monkeypatch.delenv("WORKBENCH_DATA_DIR")
    write("workbench.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert shown in caught.value.what
    assert "workbench.toml" in caught.value.what
    assert allowed in caught.value.fix


def test_load_config_with_one_value_in_a_variable_for_a_section_is_refused(monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", "4")
    with pytest.raises(ConfigError, match=r"store \(from WORKBENCH_STORE\) is a single value"):
        load_config(overrides={"store.url": "sqlite://"})


def test_load_config_with_a_variable_that_is_no_section_is_refused(monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", "hunter2")
    with pytest.raises(ConfigError, match="WORKBENCH_STORE__URL") as caught:
        load_config()
    assert "hunter2" not in str(caught.value)


def test_config_takes_sections_that_are_made_already(home):
    config = Config(store=StoreSettings(url="sqlite://"), data_dir="there")
    assert (config.store.url, config.data_dir) == ("sqlite://", home / "there")


def test_load_config_with_several_bad_values_names_all(monkeypatch):
    write("workbench.toml", "seed = 'many'\n")
    monkeypatch.setenv("WORKBENCH_PANELS__PORT", "door")
    with pytest.raises(ConfigError, match=r"seed = 'many' from workbench\.toml.*PANELS__PORT"):
        load_config()


def test_load_config_with_broken_toml_names_the_line():
    write("workbench.toml", "seed = \n")
    with pytest.raises(ConfigError, match=r"workbench\.toml is not TOML.*line 1"):
        load_config()


def test_load_config_with_a_profile_file_for_another_profile_is_refused():
    write("workbench.paper.toml", "profile = 'live'\n")
    with pytest.raises(ConfigError, match="read for the profile paper only"):
        load_config(profile="paper")


@pytest.mark.parametrize("profile", ["prod", "../../etc/x"])
def test_load_config_with_an_unknown_profile_is_refused(profile):
    with pytest.raises(ConfigError, match=PROFILES):
        load_config(profile=profile)


def test_config_masks_secrets_everywhere(monkeypatch):
    monkeypatch.setenv("WORKBENCH_PANELS__TOKEN", TOKEN)
    monkeypatch.setenv("WORKBENCH_STORE__PASSWORD", TOKEN)
    config = load_config()
    assert config.panels.token is not None
    assert config.panels.token.get_secret_value() == TOKEN
    shown = [repr(config), str(config), config.model_dump_json(), str(config_settings(config))]
    assert not any(TOKEN in text for text in shown)
    assert config_settings(config)["panels.token"].origin == "WORKBENCH_PANELS__TOKEN"


def test_load_config_with_a_bad_secret_does_not_show_it(monkeypatch):
    monkeypatch.setenv("WORKBENCH_PANELS__TOKEN", "hunter2")
    with pytest.raises(ConfigError, match="at least 16 characters") as caught:
        load_config()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_load_config_with_a_password_in_the_store_url_does_not_show_it():
    write("workbench.toml", "[store]\nurl = 'postgresql://me:hunter2@desk/books'\n")
    with pytest.raises(ConfigError, match="WORKBENCH_STORE__PASSWORD") as caught:
        load_config()
    assert "hunter2" not in str(caught.value)


def test_load_config_with_a_secret_in_a_file_is_refused():
    write("workbench.toml", f"[panels]\ntoken = '{TOKEN}'\n")
    with pytest.raises(SecretError, match="WORKBENCH_PANELS__TOKEN") as caught:
        load_config()
    assert TOKEN not in str(caught.value)


def live_choices() -> dict[str, object]:
    return {
        "data_dir": "books",
        "store.url": "postgresql://me@desk/books",
        "exchange.rest_url": "https://api.bybit.com",
        "costs.maker_fee_bps": 2.0,
        "costs.taker_fee_bps": 5.5,
        "account.capital_usdt": 10_000,
        "account.leverage": 1,
        "panels.token": TOKEN,
    }


def test_live_profile_with_every_choice_made_starts(monkeypatch):
    monkeypatch.delenv("WORKBENCH_DATA_DIR")
    assert load_config(profile="live", overrides=live_choices()).profile == "live"


@pytest.mark.parametrize("left_out", LIVE_CHOICES)
def test_live_profile_refuses_a_default(monkeypatch, left_out):
    monkeypatch.delenv("WORKBENCH_DATA_DIR")
    choices = live_choices()
    del choices[left_out]
    with pytest.raises(ConfigError, match="live profile") as caught:
        load_config(profile="live", overrides=choices)
    assert left_out in caught.value.what


@pytest.mark.parametrize("host", ["http://127.0.0.1:9000", "https://api-testnet.bybit.com"])
def test_live_profile_refuses_another_exchange(host):
    with pytest.raises(ConfigError, match="real exchange"):
        load_config(profile="live", overrides={**live_choices(), "exchange.rest_url": host})


def test_config_cannot_be_changed():
    config = load_config()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
    with pytest.raises(ValueError, match="frozen"):
        config.panels.port = 3


def test_config_places_are_relative_to_the_project_not_to_the_folder_one_stands_in(
    home, monkeypatch
):
    monkeypatch.delenv("WORKBENCH_DATA_DIR")
    write("workbench.toml", "data_dir = 'd'\n[store]\nurl = 'sqlite:///d/x.db'\n")
    (home / "notebooks").mkdir()
    monkeypatch.chdir(home / "notebooks")
    config = load_config()
    assert config.data_dir == home / "d"
    assert config.store.url == f"sqlite:///{home}/d/x.db"


@pytest.mark.parametrize(
    ("text", "is_project"),
    [
        ('[project]\nname = "workbench"\n', True),
        ('[project]\nname = "mine"\ndependencies = ["workbench[research]>=0.1"]\n', True),
        ('[project]\nname = "mine"\ndependencies = ["workbench-tools"]\n', False),
        ("not toml", False),
    ],
)
def test_find_root_takes_a_project_that_is_or_needs_workbench(home, text, is_project):
    inner = home / "a/b"
    inner.mkdir(parents=True)
    (home / "pyproject.toml").write_text(text)
    assert find_root(inner) == (home if is_project else inner)


def test_config_settings_cover_every_field():
    names = {key.split(".")[0] for key in config_settings(load_config())}
    assert names == set(Config.model_fields) - {"strategies"}
