from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ConfError, load
from gmqtt_platform.database import database
from gmqtt_platform.datadir import old_secret_keys, prepare


def test_nodes_that_start_together_share_one_secret_key(tmp_path: Path) -> None:
    conf = load({"GMQTT_NODE__DATA_DIR": str(tmp_path / "data")})
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: prepare(conf), range(32)))
    assert len(keys) == 1
    assert keys == {(tmp_path / "data" / "secret_key").read_text()}


def test_each_directory_has_its_own_secret_key(tmp_path: Path) -> None:
    one, two = (prepare(load({"GMQTT_NODE__DATA_DIR": str(tmp_path / name)})) for name in "ab")
    assert one != two


def test_postgresql_leaves_no_sqlite_file(tmp_path: Path) -> None:
    url = "postgresql://ada:p%40ss@db.example.com:5433/gmqtt?sslmode=require"
    conf = load({"GMQTT_NODE__DATA_DIR": str(tmp_path), "GMQTT_DATABASE__URL": url})
    prepare(conf)
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]
    settings = database(conf)
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert (settings["USER"], settings["PASSWORD"], settings["NAME"]) == ("ada", "p@ss", "gmqtt")
    assert (settings["HOST"], settings["PORT"]) == ("db.example.com", "5433")
    assert settings["OPTIONS"] == {"sslmode": "require"}


def test_the_secret_key_from_the_environment_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMQTT_SECRET_KEY", "k" * 40)
    assert prepare(load({"GMQTT_NODE__DATA_DIR": str(tmp_path)})) == "k" * 40
    assert not (tmp_path / "secret_key").exists()


def test_the_secret_key_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mounted"
    file.write_text("m" * 40 + "\n")
    monkeypatch.setenv("GMQTT_SECRET_KEY_FILE", str(file))
    assert prepare(load({"GMQTT_NODE__DATA_DIR": str(tmp_path / "data")})) == "m" * 40


@pytest.mark.parametrize("key", ["", "short"])
def test_a_short_secret_key_is_refused_and_not_shown(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GMQTT_SECRET_KEY", key)
    with pytest.raises(ConfError, match="at least 32 characters") as caught:
        prepare(load({"GMQTT_NODE__DATA_DIR": str(tmp_path)}))
    assert "short" not in str(caught.value)


def test_old_secret_keys_from_the_environment_and_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = load({"GMQTT_NODE__DATA_DIR": str(tmp_path)})
    assert old_secret_keys(conf) == []
    (tmp_path / "secret_key_fallbacks").write_text("d" * 40 + "\n")
    monkeypatch.setenv("GMQTT_SECRET_KEY_FALLBACKS", f"{'a' * 40} {'b' * 40}")
    assert old_secret_keys(conf) == ["a" * 40, "b" * 40, "d" * 40]
    monkeypatch.delenv("GMQTT_SECRET_KEY_FALLBACKS")
    (tmp_path / "mounted").write_text("m" * 40 + "\n" + "n" * 40 + "\n")
    monkeypatch.setenv("GMQTT_SECRET_KEY_FALLBACKS_FILE", str(tmp_path / "mounted"))
    assert old_secret_keys(conf) == ["m" * 40, "n" * 40, "d" * 40]


def test_a_short_old_key_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GMQTT_SECRET_KEY_FALLBACKS", "a" * 40 + " shorty")
    with pytest.raises(ConfError, match="at least 32 characters") as caught:
        old_secret_keys(load({"GMQTT_NODE__DATA_DIR": str(tmp_path)}))
    assert "shorty" not in str(caught.value)
