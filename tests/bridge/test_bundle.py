from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest

from ftweb.bridge import bundle as module
from ftweb.bridge.bundle import make_bundle, read_bundle
from ftweb.errors import AppLoadError


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return write(
        tmp_path / "app",
        app_dot_py="server = 1\n",
        pages__index_dot_html="<!doctype html>",
        pages__style_dot_css="body {}",
        data__words_dot_txt="one",
    )


def test_two_directories_of_one_content_give_one_bundle(app: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    for path in sorted(app.rglob("*"), reverse=True):  # in another order
        if path.is_file():
            target = copy / path.relative_to(app)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(0o600)
            os.utime(target, (1_000_000_000, 1_000_000_000))
    assert make_bundle(app) == make_bundle(copy)


def test_its_name_is_its_hash_and_it_holds_the_files(app: Path) -> None:
    bundle = make_bundle(app)
    assert bundle.sha256 == hashlib.sha256(bundle.data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(bundle.data)) as archive:
        assert archive.namelist() == [
            "app.py",
            "data/words.txt",
            "pages/index.html",
            "pages/style.css",
        ]
        assert archive.read("app.py") == b"server = 1\n"
    assert dict(bundle.pages) == {"index.html": b"<!doctype html>", "style.css": b"body {}"}


def test_one_byte_makes_another_bundle(app: Path) -> None:
    before = make_bundle(app)
    (app / "app.py").write_text("server = 2\n", encoding="utf-8")
    assert make_bundle(app).sha256 != before.sha256


def test_hidden_and_compiled_files_stay_out(app: Path) -> None:
    before = make_bundle(app)
    write(app, _dot_ftweb__replica="secret", _dot_env="TOKEN=1", pages___dot_hidden="no")
    write(app, helper_dot_pyc="no")
    (app / "__pycache__").mkdir()
    (app / "__pycache__" / "app.cpython-313.pyc").write_bytes(b"no")
    assert make_bundle(app) == before


def test_links_out_of_the_directory_stay_out(app: Path, tmp_path: Path) -> None:
    before = make_bundle(app)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    (app / "pages" / "leak.txt").symlink_to(secret)
    (app / "all").symlink_to(tmp_path, target_is_directory=True)
    assert make_bundle(app) == before


def test_no_app(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(AppLoadError, match=r"app\.py") as caught:
            make_bundle(missing)
        assert caught.value.code == "app_missing"


def test_too_large(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUNDLE_BYTES", 20)
    with pytest.raises(AppLoadError, match="more than"):
        make_bundle(app)


def test_names_that_are_one_on_some_systems(app: Path) -> None:
    write(app, pages__Style_dot_css="body {}")
    with pytest.raises(AppLoadError, match=r"pages/Style\.css and pages/style\.css"):
        make_bundle(app)


def test_a_bundle_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "app.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "pages" / "index.html").write_text("<p>", encoding="utf-8")
    made = make_bundle(tmp_path)
    read = read_bundle(made.data, sha256=made.sha256)
    assert (read.sha256, read.data, dict(read.pages)) == (made.sha256, made.data, dict(made.pages))


def test_what_is_not_the_bundle_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x = 1\n", encoding="utf-8")
    made = make_bundle(tmp_path)
    changed = made.data.replace(b"x = 1", b"x = 2")
    no_zip = b"not a zip"
    for data, sha256 in (
        (changed, made.sha256),
        (no_zip, hashlib.sha256(no_zip).hexdigest()),
        (made.data[:-5], hashlib.sha256(made.data[:-5]).hexdigest()),
    ):
        with pytest.raises(AppLoadError):
            read_bundle(data, sha256=sha256)
