"""Protects the panels' server: it says where it listens only when it does."""

import socket
import subprocess
import sys


def test_port_that_is_taken_is_said_and_no_address_given(home):
    (home / "apps").mkdir()
    (home / "apps" / "runs.ipynb").touch()
    (home / "workbench.toml").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "workbench.cli", "panels", "--no-browser", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "token=" not in done.stdout
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr.replace("\n", " ")
    assert "--port" in done.stderr
