"""The kill switch over HTTP opens to whoever has the token and says who and why, to nobody else.

Known trap: an unauthenticated way in.
"""

import http.client
import json
import stat

import pytest

from workbench.core.errors import ExchangeBusy, RiskRefused
from workbench.live.door import HEADER, PLACE, Door, knock
from workbench.live.latch import Level, Press

STATE = {"level": "clear", "positions": 3}
SAID = {"level": "cancel-all", "by": "me", "reason": "why"}


class Listener(Door):
    """A door that remembers what was said."""

    def __init__(self):
        self.heard = []
        super().__init__(0, "a token", say=self.heard.append, state=lambda: STATE)


@pytest.fixture
def door(tmp_path):
    door = Listener()
    door.publish(tmp_path)
    yield door
    door.close()


def ask(door, method, path, body=None, **headers):
    """A raw request, and its status."""
    connection = http.client.HTTPConnection(*door.server_address, timeout=5)
    connection.request(method, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_kill_and_release_reach_the_supervisor_and_give_its_state(door, tmp_path):
    assert knock(tmp_path, "/kill", SAID) == STATE
    knock(tmp_path, "/release", {"by": "me", "reason": "well"})
    assert door.heard == [Press(Level.CANCEL_ALL, "me", "why"), Press(Level.CLEAR, "me", "well")]
    assert knock(tmp_path, "/state") == STATE


@pytest.mark.parametrize("token", [None, "", "a toke", "a tokens", "ä token"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/state"), ("POST", "/kill")])
def test_without_the_token_nothing_is_heard_or_told(door, token, method, path):
    headers = {} if token is None else {HEADER: token.encode()}
    assert ask(door, method, path, json.dumps(SAID), **headers) == 403
    assert door.heard == []


WRONG = [SAID | {"by": " "}, SAID | {"level": "up"}, SAID | {"level": "clear"}, {}, []]


@pytest.mark.parametrize("body", ["", "x", *map(json.dumps, WRONG)])
def test_word_that_is_not_whole_is_refused_with_what_is_missing(door, body):
    assert ask(door, "POST", "/kill", body, **{HEADER: door.token}) == 422
    assert door.heard == []


def test_unknown_path_is_not_found(door):
    assert ask(door, "GET", "/kill", **{HEADER: door.token}) == 404
    assert ask(door, "POST", "/state", "{}", **{HEADER: door.token}) == 404


def test_length_that_is_no_number_is_refused(door):
    assert ask(door, "POST", "/kill", None, **{HEADER: door.token, "Content-Length": "x"}) == 422


def test_door_listens_on_this_machine_only(door):
    assert door.server_address[0] == "127.0.0.1"


def test_token_is_for_its_owner_only(door, tmp_path):
    assert stat.S_IMODE((tmp_path / PLACE).stat().st_mode) == 0o600


def test_knock_says_what_the_supervisor_refused(door, tmp_path):
    with pytest.raises(RiskRefused, match="Nobody, or no reason"):
        knock(tmp_path, "/kill", SAID | {"reason": ""})


def test_knock_where_nobody_is_says_so(tmp_path):
    with pytest.raises(ExchangeBusy, match="No supervisor answers"):
        knock(tmp_path, "/state")
    door = Listener()
    door.publish(tmp_path)
    door.close()
    with pytest.raises(ExchangeBusy, match="No supervisor answers"):
        knock(tmp_path, "/state")
