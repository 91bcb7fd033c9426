"""Who could log in, publish and subscribe at a real mosquitto can here; the forbidden stays forbidden.

The files are made by mosquitto's own programs, and each question is asked of both brokers.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.operations.imported import PASSWORDS, Asked, answers, connects, installed
from tests.operations.support import ok, run, shell
from tests.services import present
from tests.wire.conftest import Start
from tests.wire.nodes import until
from tools.servers import Missing, free_port

ACL = """
# who has no name
topic read public/#

user alice
topic readwrite alice/#
topic deny alice/secret/#
topic read news/+

user bob
topic write alice/inbox
topic readwrite both sides

user nobody
topic #

pattern readwrite own/%u/#
pattern write by/%c/up
"""


@contextmanager
def mosquitto(folder: Path, *conf: str) -> Iterator[int]:
    """A broker of its own; the port."""
    port = free_port()
    folder.chmod(0o755)
    path = folder / "mosquitto.conf"
    lines = (f"listener {port} 127.0.0.1", f"user {Path.home().owner()}", *conf)
    path.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([installed("mosquitto"), "-c", str(path)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: connects(port, "probe", None, None) is not None, 20, "mosquitto does not listen")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def test_password_and_acl_file(start: Start, tmp_path: Path) -> None:
    passwords, acl = tmp_path / "passwords", tmp_path / "acl"
    acl.write_text(ACL)
    for user, password in PASSWORDS.items():
        kind = "sha512" if user == "carol" else "sha512-pbkdf2"  # $6$ of mosquitto 1.6, $7$ of 2
        new = () if passwords.exists() else ("-c",)
        subprocess.run(
            [installed("mosquitto_passwd"), "-H", kind, *new, "-b", passwords, user, password],
            check=True,
            timeout=20,
        )
    assert {line.split(":")[1][:3] for line in passwords.read_text().splitlines()} == {"$6$", "$7$"}
    with passwords.open("a") as file:
        file.write("sender:plain\n")
    subprocess.run(
        [installed("mosquitto_passwd"), "-b", passwords, "sender", "sends"], check=True, timeout=20
    )
    acl.write_text(ACL + "\nuser sender\ntopic readwrite #\n")

    node = start(AUTH__CLIENT="django", AUTH__ACL="django")
    arguments = ("import", "mosquitto", "--password-file", passwords, "--acl-file", acl)
    told = json.loads(ok(node.data_dir, "--json", *arguments, "--dry-run"))
    assert shell(node.data_dir, "from apps.auth.models import Client; print(Client.objects.count())") == "0\n"
    done = json.loads(ok(node.data_dir, "--json", *arguments))
    assert done["made"] == told["made"] == {"group": 1, "client": 4, "rule": 8}
    assert any("public/#" in text for text in done["without_counterpart"])
    assert any("'nobody'" in text for text in done["without_counterpart"])
    assert json.loads(ok(node.data_dir, "--json", *arguments))["made"] == {}

    conf = (f"password_file {passwords}", f"acl_file {acl}", "allow_anonymous false")
    with mosquitto(tmp_path, *conf) as port:
        for user, password in {**PASSWORDS, "nobody": "x"}.items():
            for tried in (password, "wrong", ""):
                theirs = connects(port, f"any-{user}", user, tried)
                assert (
                    connects(node.tcp, f"any-{user}", user, tried)
                    == theirs
                    == (tried == password and user != "nobody")
                )
        theirs, ours = answers(port), answers(node.tcp)
    different = {key: (theirs[key], ours[key]) for key in theirs if theirs[key] != ours[key]}
    assert not different
    assert 10 < sum(theirs.values()) < len(theirs) - 10

    # After their first login they have a hash of this platform.
    script = "from apps.auth.models import Credential as C\n"
    script += "print(sorted(c.secret.split('$')[0] for c in C.objects.all()))"
    until(lambda: shell(node.data_dir, script) == f"{['pbkdf2_sha256'] * 4}\n", 60, "not upgraded")
    assert connects(node.tcp, "again", "carol", "third")
    assert not connects(node.tcp, "again", "carol", "wrong")


DYNSEC = (
    *(("createClient", "alice", "-p", "first"), ("createClient", "bob", "-p", "second")),
    *(("createClient", "fixed", "-c", "fixed-id", "-p", "third"), ("createClient", "off", "-p", "fourth")),
    *(("disableClient", "off"), ("createGroup", "meters"), ("createRole", "meter"), ("createRole", "reader")),
    ("addRoleACL", "meter", "publishClientSend", "m/#", "allow", "1"),
    ("addRoleACL", "meter", "publishClientSend", "m/private/#", "deny", "5"),
    ("addRoleACL", "reader", "subscribePattern", "m/#", "allow", "1"),
    ("addRoleACL", "reader", "subscribeLiteral", "exact", "allow", "1"),
    ("addRoleACL", "reader", "subscribePattern", "m/hidden/#", "deny", "9"),
    *(("addGroupRole", "meters", "meter", "1"), ("addGroupClient", "meters", "alice", "1")),
    *(("addClientRole", "bob", "reader", "1"), ("addGroupClient", "meters", "fixed", "1")),
)


def test_dynamic_security(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "dynsec.json"
    control = installed("mosquitto_ctrl")
    plugins = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins:
        with present():
            raise Missing("mosquitto_dynamic_security.so is not installed")
    subprocess.run([control, "dynsec", "init", path, "admin", "admin-secret"], check=True, timeout=20)
    conf = (f"plugin {plugins[0]}", f"plugin_opt_config_file {path}", "allow_anonymous false")
    with mosquitto(tmp_path, *conf) as port:
        for each in DYNSEC:
            command = [
                control,
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-u",
                "admin",
                "-P",
                "admin-secret",
                "dynsec",
                *each,
            ]
            subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)
        node = start(AUTH__CLIENT="django", AUTH__ACL="django")
        told = json.loads(ok(node.data_dir, "--json", "import", "mosquitto", "--dynamic-security", path))
        assert told["made"]["client"] == 5
        logins = [
            ("alice", "first", "x"),
            ("alice", "no", "x"),
            ("bob", "second", "b"),
            ("off", "fourth", "o"),
        ]
        logins += [("fixed", "third", "fixed-id"), ("fixed", "third", "other-id"), ("nobody", "x", "x")]
        for user, password, client_id in logins:
            assert connects(node.tcp, client_id, user, password) == connects(port, client_id, user, password)
        topics = ("m/1", "m/private/1", "m/hidden/1", "m/#", "exact", "other", "#", "$SYS/#")
        for user, password, client_id in (
            ("alice", "first", "x"),
            ("bob", "second", "b"),
            ("fixed", "third", "fixed-id"),
        ):
            theirs, ours = Asked(port, user, password, client_id), Asked(node.tcp, user, password, client_id)
            for topic in topics:
                if "#" not in topic:
                    assert ours.publishes(topic) == theirs.publishes(topic), (user, topic)
                # Their m/# passes over the denial of m/hidden/#, which overlaps: stricter here, and told.
                if (user, topic) != ("bob", "m/#"):
                    assert ours.subscribes(topic) == theirs.subscribes(topic), (user, topic)
            theirs.close()
            ours.close()


def test_retained_messages(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "db"
    folder.mkdir()
    store = ("allow_anonymous true", "persistence true", f"persistence_location {folder}/")
    with mosquitto(tmp_path, *store) as port:
        made = paho.Client(CallbackAPIVersion.VERSION2, "p")
        made.connect("127.0.0.1", port)
        made.loop_start()
        for number in range(3):
            made.publish(f"kept/{number}", b"\x00\xff" * number + b"x", number, True).wait_for_publish(10)
        made.publish("kept/0", b"", 1, True).wait_for_publish(10)
        made.publish("kept/ü", b"z" * 300_000, 1, True).wait_for_publish(10)
        made.disconnect()
        made.loop_stop()
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    arguments = ("import", "mosquitto", "--password-file", passwords, "--retained", folder / "mosquitto.db")
    away = run(tmp_path / "nothing", *arguments, LISTENERS__HTTP="127.0.0.1:1")
    assert away.returncode == 3, away.stderr
    node = start()
    told = json.loads(ok(node.data_dir, "--json", "--url", f"http://127.0.0.1:{node.ws}", *arguments))
    assert told["made"]["retained"] == 3
    reader = Asked(node.tcp, "reader", "x")
    seen: dict[str, tuple[bytes, int]] = {}
    reader.client.on_message = lambda _c, _d, message: seen.update(
        {message.topic: (message.payload, message.qos)}
    )
    reader.client.subscribe("kept/#", 2)
    until(lambda: len(seen) == 3, 20)
    assert seen == {
        "kept/1": (b"\x00\xffx", 1),
        "kept/2": (b"\x00\xff\x00\xffx", 2),
        "kept/ü": (b"z" * 300_000, 1),
    }
    reader.close()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("--dynamic-security", "{", "not JSON"),
        ("--dynamic-security", '{"clients": [{}]}', "not of the dynamic-security plugin"),
        ("--password-file", b"\xff\xfe", "not UTF-8"),
        ("--password-file", None, "No such file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: str | bytes | None, why: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    refused = run(tmp_path / "data", "import", "mosquitto", name, path)
    assert refused.returncode == 2
    assert why in refused.stderr
