"""Recorded frames of the exchange, read in place: an archive as it is, a recording of 2021 in V5.

The recording was made in the protocol before V5: its levels and trades are put into V5's form, with
an update id that counts the frames of its topic.
"""

import gzip
import json
import zipfile
from collections import Counter


def archived_books(shared_data):
    """The first 50 frames of an archive day: 500 levels of XRPUSDT."""
    path = shared_data / "bybit_ob500_xrp" / "2024-12-01_XRPUSDT_ob500.data.zip"
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).splitlines()


def recording(shared_data):
    """Some 4,400 frames of books and trades of ten symbols over 50 seconds, in V5's form."""
    frames, numbers = [], Counter()
    for name in ("BYBIT.ws.25.0.txt.gz", "BYBIT.ws.26.0.txt.gz"):
        with gzip.open(shared_data / "bybit_ws_raw_2021" / name, "rt") as lines:
            for line in lines:
                _, _, text = line.partition(": ")
                old = json.loads(text) if text.startswith('{"topic"') else None
                if old is None or " <- " in line:
                    continue
                kind, symbol = old["topic"].split(".")
                numbers[old["topic"]] += 1
                make = _book if kind == "orderBookL2_25" else _trades
                frames.append(json.dumps(make(old, symbol, numbers[old["topic"]])).encode())
    return frames


def _book(old, symbol, number):
    is_snapshot, data = old["type"] == "snapshot", old["data"]
    rows = (data["order_book"] if isinstance(data, dict) else data) if is_snapshot else [
        *({**row, "size": 0} for row in data["delete"]), *data["update"], *data["insert"]
    ]  # fmt: skip
    sides = {
        side: [[row["price"], str(row["size"])] for row in rows if row["side"] == side]
        for side in ("Buy", "Sell")
    }
    stamp = int(old["timestamp_e6"]) // 1000
    return {
        "topic": f"orderbook.50.{symbol}", "type": old["type"], "ts": stamp, "cts": stamp,
        "data": {"s": symbol, "b": sides["Buy"], "a": sides["Sell"], "u": number + 1,
                 "seq": int(old["cross_seq"])},
    }  # fmt: skip


def _trades(old, symbol, number):
    rows = [
        {"T": int(row["trade_time_ms"]), "s": symbol, "S": row["side"], "v": str(row["size"]),
         "p": str(row["price"]), "L": row["tick_direction"], "i": row["trade_id"], "BT": False,
         "seq": number} for row in old["data"]
    ]  # fmt: skip
    stamp = max(row["T"] for row in rows)
    return {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": stamp, "data": rows}
