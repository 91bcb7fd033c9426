"""EMQX' data export: version 4's JSON, and version 5's archive, whose tables Erlang's mnesia writes here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password

from apps.auth import hashers
from gmqtt_platform.importing import emqx, erlang
from gmqtt_platform.importing.found import BadSource, Found
from tests.operations.imported import Asked, connects, installed
from tests.operations.support import ok
from tests.wire.conftest import Start
from tests.wire.nodes import until

SALT = b"\xea\xfe\x9d\x7b"


def four() -> dict[str, Any]:
    def hashed(password: str) -> str:
        digest = hashlib.sha256(SALT + password.encode()).hexdigest()
        return base64.b64encode(SALT + digest.encode()).decode()

    allow, deny = {"access": "allow"}, {"access": "deny"}
    return {
        "version": "4.4",
        "auth_mnesia": [
            {"login": "alice", "type": "username", "password": hashed("first"), "created_at": 1},
            {"login": "fixed", "type": "clientid", "password": hashed("second"), "created_at": 2},
        ],
        "acl_mnesia": [
            {"type": "username", "type_value": "alice", "topic": "a/%u/#", "action": "pubsub"} | allow,
            {"type": "username", "type_value": "alice", "topic": "a/alice/no", "action": "pub"} | deny,
            {"type": "clientid", "type_value": "fixed", "topic": "t/1", "action": "pub", "access": "allow"},
            {"type": "all", "topic": "all", "action": "sub", "access": "allow"},
            {"type": "username", "type_value": "nobody", "topic": "x", "action": "sub", "access": "allow"},
        ],
        "blacklist": [
            {"who": {"username": "mallory"}, "by": "user", "reason": "why", "until": int(time.time()) + 9999},
            {"who": {"peerhost": "192.0.2.7"}, "by": "user", "reason": "", "until": "infinity"},
            {"who": {"clientid": "old"}, "by": "user", "reason": "", "until": 1},
        ],
        "rules": [{}],
    }


def test_version_4(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(four()))
    node = start(AUTH__CLIENT="django", AUTH__ACL="django")
    told = json.loads(ok(node.data_dir, "--json", "import", "emqx", path))
    assert told["made"] == {"group": 1, "client": 2, "rule": 4, "ban": 2}
    assert any("nobody" in text for text in told["without_counterpart"])
    assert any("rules: 1 are left out" in text for text in told["without_counterpart"])
    assert connects(node.tcp, "any", "alice", "first")
    assert not connects(node.tcp, "any", "alice", "second")
    assert connects(node.tcp, "fixed", "fixed", "second")
    assert not connects(node.tcp, "other", "fixed", "second")
    asked = Asked(node.tcp, "alice", "first")
    assert asked.publishes("a/alice/x")
    assert not asked.publishes("a/alice/no")
    assert not asked.publishes("t/1")
    assert asked.subscribes("all")
    assert not asked.subscribes("other")
    asked.close()


TABLES = """
Make = fun(Table, Record, Rows) ->
    {atomic, ok} = mnesia:create_table(Table, [{record_name, Record}, {attributes, lists:nth(1, Rows)}]),
    [ok = mnesia:dirty_write(Table, Row) || Row <- lists:nthtail(1, Rows)],
    {ok, Name, _} = mnesia:activate_checkpoint([{name, Table}, {min, [Table]}, {ram_overrides_dump, true}]),
    ok = mnesia:backup_checkpoint(Name, filename:join(Folder, atom_to_list(Table)))
end,
Salt = <<"0123abcd">>,
Group = <<"mqtt:global">>,
Make(emqx_authn_mnesia, user_info, [[user_id, password_hash, salt, is_superuser],
    {user_info, {Group, <<"alice">>}, <<"FIRST">>, Salt, false},
    {user_info, {Group, <<"root">>}, <<"SECOND">>, Salt, true}]),
Make(emqx_acl, emqx_acl, [[who, rules],
    {emqx_acl, {1, <<"alice">>}, [{allow, publish, <<"a/${username}/#">>}, {deny, all, <<"a/alice/no">>},
        {allow, #{action_type => publish, qos => [0, 1, 2], retain => all}, <<"q">>}]},
    {emqx_acl, 0, [{allow, subscribe, <<"all">>}]}]),
Make(emqx_banned, banned, [[who, by, reason, at, until],
    {banned, {username, <<"mallory">>}, <<"user">>, <<"why">>, 1, infinity},
    {banned, {peerhost, {192, 0, 2, 7}}, <<"user">>, <<>>, 1, 99999999999}]),
Make(emqx_retainer_message, retained_message, [[topic, msg, expiry_time],
    {retained_message, [<<"kept">>, <<"1">>], {message, <<1:128>>, 1, <<"c">>, #{retain => true},
        #{properties => #{}}, <<"kept/1">>, <<0, 255, "x">>, 1728915852861, []}, 0},
    {retained_message, [<<"large">>], {message, <<3:128>>, 1, <<"c">>, #{retain => true}, #{},
        <<"large">>, binary:copy(<<"l">>, 100000), 1728915852861, []}, 0},
    {retained_message, [<<"gone">>], {message, <<2:128>>, 1, <<"c">>, #{retain => true}, #{},
        <<"gone">>, <<"x">>, 1, []}, 5}]),
halt(0).
"""


def five(tmp_path: Path) -> Path:
    folder = tmp_path / "mnesia"
    folder.mkdir()
    script = f'ok = mnesia:start(), Folder = "{folder}",' + TABLES
    for password in ("first", "second"):
        script = script.replace(password.upper(), hashlib.sha512(f"{password}0123abcd".encode()).hexdigest())
    command = [installed("erl"), "-noshell", "-mnesia", "dir", f'"{tmp_path}/db"', "-eval", script]
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path)
    conf = tmp_path / "cluster.hocon"
    conf.write_text(
        "authentication = [{backend = built_in_database, mechanism = password_based\n"
        "  password_hash_algorithm {name = sha512, salt_position = suffix}, user_id_type = username}]\n"
    )
    (tmp_path / "META.hocon").write_text("version = 5.8.0\n")
    path = tmp_path / "emqx-export.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        tables = [f"mnesia/{each.name}" for each in sorted(folder.iterdir())]
        for name in ("META.hocon", "cluster.hocon", *tables):
            archive.add(tmp_path / name, f"emqx-export/{name}")
    return path


def test_version_5(start: Start, tmp_path: Path) -> None:
    path = five(tmp_path)
    node = start(AUTH__CLIENT="django", AUTH__ACL="django")
    url = f"http://127.0.0.1:{node.ws}"
    told = json.loads(ok(node.data_dir, "--json", "--url", url, "import", "emqx", path, "--allow-unmatched"))
    assert told["made"] == {"group": 1, "client": 2, "rule": 6, "ban": 2, "retained": 2}
    assert connects(node.tcp, "any", "alice", "first")
    assert not connects(node.tcp, "any", "alice", "second")
    asked = Asked(node.tcp, "alice", "first")
    assert asked.publishes("a/alice/x")
    assert not asked.publishes("a/alice/no")
    assert asked.publishes("unmatched")
    seen: list[tuple[str, bytes]] = []
    asked.client.on_message = lambda _c, _d, message: seen.append((message.topic, message.payload))
    assert asked.subscribes("kept/#")
    until(lambda: seen == [("kept/1", b"\x00\xffx")])
    asked.close()


def test_a_damaged_table(tmp_path: Path) -> None:
    path = five(tmp_path)
    with tarfile.open(path) as archive:
        file = archive.extractfile("emqx-export/mnesia/emqx_acl")
        assert file is not None
        whole = file.read()
    assert len(list(erlang.backup_rows(whole, "emqx_acl"))) == 2
    with pytest.raises(erlang.BadTerm):
        list(erlang.backup_rows(whole[:-5], "emqx_acl"))
    for place in range(0, len(whole), 3):  # whatever it is by then: no other error
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        with contextlib.suppress(erlang.BadTerm):
            list(erlang.backup_rows(bytes(damaged), "emqx_acl"))


@pytest.mark.parametrize(
    ("algorithm", "made"),
    [
        ({"name": "md5", "salt_position": "prefix"}, lambda p, s: hashlib.md5(s + p).hexdigest()),
        ({"name": "sha", "salt_position": "suffix"}, lambda p, s: hashlib.sha1(p + s).hexdigest()),
        ({"name": "sha256", "salt_position": "disable"}, lambda p, s: hashlib.sha256(p).hexdigest()),
        ({"name": "sha512", "salt_position": "prefix"}, lambda p, s: hashlib.sha512(s + p).hexdigest()),
        (
            {"name": "pbkdf2", "mac_fun": "sha256", "iterations": 4096},
            lambda p, s: hashlib.pbkdf2_hmac("sha256", p, s, 4096, 32).hex(),
        ),
    ],
)
def test_every_kind_of_hash(algorithm: dict[str, Any], made: Any) -> None:
    encoded = hashers.from_emqx(algorithm, made("pä$s".encode(), b"s$lt"), b"s$lt")
    assert check_password("pä$s", encoded)
    assert not check_password("pass", encoded)
    assert hashers.is_foreign(encoded)


def test_bcrypt() -> None:
    import bcrypt

    digest = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    encoded = hashers.from_emqx({"name": "bcrypt"}, digest, b"")
    assert check_password("secret", encoded)
    assert not check_password("other", encoded)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ({"name": "sha3"}, "00" * 32),
        ({"name": "sha256"}, "00" * 20),
        ({"name": "sha256", "salt_position": "middle"}, "00" * 32),
        ({"name": "sha256"}, "not hex"),
        ({"name": "pbkdf2", "mac_fun": "sha256", "iterations": 10**9}, "00" * 32),
        ({"name": "bcrypt"}, "$2b$x"),
    ],
)
def test_hashes_that_cannot_be_checked(algorithm: dict[str, Any], digest: str) -> None:
    with pytest.raises(hashers.BadHash):
        hashers.from_emqx(algorithm, digest, b"salt")


NO_EXPORTS = ["", "{}", "[1]", '{"version": "4.4", "auth_mnesia": [{}]}', "[" * 100_000]


@pytest.mark.parametrize("content", NO_EXPORTS)
def test_files_that_are_no_export(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(BadSource):
        emqx.read(Found("emqx"), path, {"name": "sha256"})
