"""Protects snapshots: the data behind a number can be named, checked, carried and restored."""

import pytest

from tests.data.test_lake import SERIES, rows
from workbench.core.errors import DataError
from workbench.data import (
    Lake,
    export_snapshot,
    find_snapshot,
    restore_snapshot,
    verify_snapshot,
)
from workbench.data.snapshot import pin_snapshot, rebuild_lake, take_snapshot


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.write(SERIES, rows(0, 100))
    return lake


@pytest.fixture
def snapshot(lake):
    return take_snapshot(lake, lake.files(SERIES))


def test_id_names_the_content_and_nothing_else(lake, snapshot, tmp_path):
    other = Lake(tmp_path / "elsewhere")
    for span in ((50, 50), (0, 60)):
        other.write(SERIES, rows(*span))
    assert take_snapshot(other, other.files(SERIES)).snapshot_id == snapshot.snapshot_id
    lake.write(SERIES, rows(0, 1, close=9.0))
    assert take_snapshot(lake, lake.files(SERIES)).snapshot_id != snapshot.snapshot_id


def test_snapshot_is_found_by_its_id_and_verified(lake, snapshot):
    assert find_snapshot(lake, snapshot.snapshot_id) == snapshot
    assert verify_snapshot(lake, snapshot) == []
    lake.write(SERIES, rows(0, 1, close=9.0))
    assert [name.rpartition("/")[2] for name in verify_snapshot(lake, snapshot)] == [
        "2024-01.parquet"
    ]
    with pytest.raises(DataError, match="kept no snapshot"):
        find_snapshot(lake, "0" * 64)


def test_export_and_restore_bring_the_same_rows(lake, snapshot, tmp_path):
    export_snapshot(lake, snapshot, tmp_path / "out.tar")
    other = Lake(tmp_path / "other")
    assert restore_snapshot(other, tmp_path / "out.tar") == snapshot
    assert other.read(SERIES).equals(lake.read(SERIES))
    assert find_snapshot(other, snapshot.snapshot_id) == snapshot


def test_export_of_changed_files_is_refused(lake, snapshot, tmp_path):
    lake.write(SERIES, rows(0, 1, close=9.0))
    with pytest.raises(DataError, match="have changed"):
        export_snapshot(lake, snapshot, tmp_path / "out.tar")


def test_restore_over_other_rows_writes_nothing(lake, snapshot, tmp_path):
    export_snapshot(lake, snapshot, tmp_path / "out.tar")
    other = Lake(tmp_path / "other")
    other.write(SERIES, rows(0, 1, close=9.0))
    with pytest.raises(DataError, match="other rows"):
        restore_snapshot(other, tmp_path / "out.tar")
    assert len(other.read(SERIES)) == 1


def test_restore_of_a_damaged_export_writes_nothing(lake, snapshot, tmp_path):
    export_snapshot(lake, snapshot, tmp_path / "out.tar")
    content = bytearray((tmp_path / "out.tar").read_bytes())
    at = content.find(b"PAR1")
    content[at + 40] ^= 0xFF
    (tmp_path / "bad.tar").write_bytes(content)
    other = Lake(tmp_path / "other")
    with pytest.raises(DataError, match="damaged"):
        restore_snapshot(other, tmp_path / "bad.tar")
    assert other.series() == []


def test_pinned_snapshot_survives_a_lake_that_moves_on(lake, snapshot, tmp_path):
    """Verification rests on it: the lake of then, whatever was pulled since."""
    before = lake.read(SERIES)
    pin_snapshot(lake, snapshot)
    lake.write(SERIES, rows(50, 200, close=9.0))

    then = rebuild_lake(lake, snapshot, tmp_path / "then")

    assert then.read(SERIES).equals(before)
    assert verify_snapshot(then, snapshot) == []


def test_rebuilt_lake_can_be_written_without_touching_the_pinned(lake, snapshot, tmp_path):
    pin_snapshot(lake, snapshot)
    then = rebuild_lake(lake, snapshot, tmp_path / "then")
    then.write(SERIES, rows(0, 1, close=9.0))

    assert verify_snapshot(lake, snapshot) == []
    assert verify_snapshot(rebuild_lake(lake, snapshot, tmp_path / "again"), snapshot) == []


def test_rebuild_without_a_pin_says_what_is_gone(lake, snapshot, tmp_path):
    lake.write(SERIES, rows(0, 1, close=9.0))
    for call in (
        lambda: rebuild_lake(lake, snapshot, tmp_path / "then"),
        lambda: pin_snapshot(lake, snapshot),
    ):
        with pytest.raises(DataError, match="no longer what the snapshot holds"):
            call()
