"""Real hourly markets that several tests read, loaded once."""

import pytest

from tests.validation.history import read_market


@pytest.fixture(scope="session")
def majors(shared_data):
    """BTC, ETH, SOL, XRP and BNB from 2020-03-25 to 2025-05-15, with the funding there is."""
    return read_market(
        shared_data / "bybit_linear_major_long" / "ohlcv_1h.parquet",
        funding=shared_data / "bybit_linear_2024" / "funding.parquet",
    )


@pytest.fixture(scope="session")
def bitstamp(shared_data):
    """BTCUSD from 2018 to 2022: it holds March 2020."""
    return read_market(shared_data / "btcusd_bitstamp_1h" / "ohlcv_1h.parquet")


@pytest.fixture(scope="session")
def autumn(shared_data):
    """Ten perpetuals from September 2025 to March 2026: they hold October 2025."""
    return read_market(shared_data / "binance_perp_oi_10sym" / "ohlcv_1h.parquet")
