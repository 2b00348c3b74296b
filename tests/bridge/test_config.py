from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ftweb.bridge.config import IDENTITY_FILE, BridgeConfig, load_identity
from ftweb.errors import StorageError


def test_an_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    first = load_identity(tmp_path / "data")
    assert load_identity(tmp_path / "data") == first
    assert load_identity(tmp_path / "other") != first
    assert len({first.guid, first.join_token, first.presenter_token}) == 3


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    load_identity(tmp_path)
    path = tmp_path / IDENTITY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    load_identity(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [IDENTITY_FILE]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{",
        '{"guid": 1}',
        '{"guid": "x", "join_token": "a", "presenter_token": "b"}',
        json.dumps({"guid": "0" * 32, "join_token": "", "presenter_token": "p" * 22}),
        json.dumps({"guid": "0" * 32, "join_token": "j" * 22, "presenter_token": "j" * 22}),
    ],
)
def test_a_damaged_identity_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / IDENTITY_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(StorageError, match=r"identity\.json is damaged") as caught:
        load_identity(tmp_path)
    assert caught.value.code == "storage_untrusted"


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot be used"):
        load_identity(tmp_path / "data")


def test_tokens_are_not_shown_where_a_config_is_printed(tmp_path: Path) -> None:
    config = BridgeConfig.create(
        name="vote", app_dir=tmp_path, data_dir=tmp_path / "data", initial_state={}
    )
    assert config.identity.join_token not in repr(config)
    assert config.identity.presenter_token not in repr(config)
    assert config.guid == config.identity.guid
