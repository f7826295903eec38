"""What stands in for an engine in the drills: it beats from its loop until harm is done to it.

``python standin.py FOLDER DATABASE``: each turn reads the database and beats; SIGUSR1 freezes the
loop.
"""

import signal
import sqlite3
import sys
import time
from pathlib import Path

from workbench.live.heartbeat import ENGINE, Heart

BEAT_S = 0.02


def main():
    """Beat."""
    folder, database = map(Path, sys.argv[1:])
    heart = Heart(folder / ENGINE)
    frozen = []
    signal.signal(signal.SIGUSR1, lambda *_: frozen.append(True))
    table = sqlite3.connect(database, timeout=3600)
    while True:
        while frozen:
            time.sleep(3600)
        table.execute("select count(*) from sqlite_master").fetchone()
        heart.beat()
        time.sleep(BEAT_S)


if __name__ == "__main__":
    main()
