"""Where servers' data are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftweb.cli.datadir import default_data_dir, user_data_dir


@pytest.mark.parametrize(
    "platform,environment,expected",
    [
        ("linux", {}, ".local/share"),
        ("linux", {"XDG_DATA_HOME": "relative"}, ".local/share"),
        ("darwin", {}, "Library/Application Support"),
        ("win32", {}, "AppData/Local"),
    ],
)
def test_below_the_home(platform: str, environment: dict[str, str], expected: str) -> None:
    assert user_data_dir(environment, platform) == Path.home() / expected


def test_elsewhere(tmp_path: Path) -> None:
    assert user_data_dir({"XDG_DATA_HOME": str(tmp_path)}, "linux") == tmp_path
    assert user_data_dir({"LOCALAPPDATA": str(tmp_path)}, "win32") == tmp_path


def test_one_for_each_app_and_name(tmp_path: Path) -> None:
    one = default_data_dir(tmp_path / "a", "Physics 101: Vote!", base=tmp_path)
    assert one.parent == tmp_path / "ftweb"
    assert one.name.startswith("physics-101-vote-")
    assert one == default_data_dir(tmp_path / "b" / ".." / "a", "Physics 101: Vote!", base=tmp_path)
    others = [
        default_data_dir(tmp_path / "b", "Physics 101: Vote!", base=tmp_path),
        default_data_dir(tmp_path / "a", "Physics 101 Vote", base=tmp_path),
        default_data_dir(tmp_path / "a", "../../x", base=tmp_path),
        default_data_dir(tmp_path / "a", "投票", base=tmp_path),
    ]
    assert len({one, *others}) == 5
    assert all(other.parent == one.parent for other in others)
