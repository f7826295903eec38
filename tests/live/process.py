"""An engine in a process of its own, on a simulated exchange that the test serves and steps.

    python -m tests.live.process PLACE FOLDER

It prints ``ready``, then a word for each bar. There are no stages here: every strategy may trade.
"""

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path

from tests.exchange.desk import KEY
from workbench.core.config import load_config
from workbench.core.vault import Secret
from workbench.evidence.stages import Venue
from workbench.exchange.client import BybitClient
from workbench.live.roster import Runner
from workbench.live.run import Run
from workbench.live.setup import Parts
from workbench.monitor.alerts import Alerts
from workbench.store import Store
from workbench.strategies.identity import strategy_hash
from workbench.strategies.registry import load_strategy

LOGIN = Secret({"api_key": KEY.key, "api_secret": KEY.secret})
SETTINGS = {
    "trade.symbols": ["BTCUSDT", "ETHUSDT"],
    "trade.interval": "1",
    "trade.market": "synthetic",
    "trade.warm_days": 1,
    "trade.reconcile_s": 1,
    "exchange.requests_per_s": 100,
}


class Anything:
    """Rights under which every strategy may do anything."""

    is_synthetic, trouble = True, ""

    def refusal(self, strategy_hash, capital):
        """Nothing is refused."""
        return

    def refresh(self):
        """There is nothing to read."""


def make_parts(place, folder, store, strategies):
    """The parts of a run at a place."""
    os.environ["WORKBENCH_DATA_DIR"] = str(folder)
    config = load_config(
        profile="paper", overrides={**SETTINGS, "exchange.rest_url": f"http://{place}"}
    )
    client = BybitClient(config.exchange.rest_url, login=LOGIN, requests_per_s=100)
    runners = [
        Runner(name, own, strategy_hash(own), config.trade.symbols)
        for name, own in strategies.items()
    ]
    capital = {runner.name: Decimal(2_000) for runner in runners}
    return Parts(config, store, client, Venue.SIMULATOR_LIVE, Anything(), runners, capital)


def say(words):
    """Tell the test something."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def main(place, folder):
    """Trade until it is killed."""
    with Store.open(f"sqlite:///{folder}/workbench.db") as store:
        strategies = {
            "fast": load_strategy("crossover", {"fast": 2, "slow": 4}),
            "slow": load_strategy("crossover", {"fast": 3, "slow": 9}),
        }
        parts = make_parts(place, folder, store, strategies)
        alerts = Alerts()
        run = Run(parts, LOGIN, alerts)
        task = asyncio.create_task(run.run())
        ready = asyncio.create_task(run.ready.wait())
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        await run.feed.stream.until_ready()
        while len(run.feed.quotes) < len(parts.symbols):
            await asyncio.sleep(0.01)
        say("ready")
        seen = None
        while not task.done():
            await asyncio.sleep(0.02)
            if run.engine.last_decision != seen:
                seen = run.engine.last_decision
                say(f"decision {seen}")
        task.result()
        alerts.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
