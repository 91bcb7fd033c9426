"""`plan` and `apply`: what a YAML file says is made once, by the services; mistakes have a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.hashers import make_password

from apps.auth.models import AclRule, Ban, Change, Client, ClientGroup, Credential
from apps.auth.services import bans, groups
from apps.cluster.models import ExportRule
from apps.common.actors import SYSTEM
from gmqtt_platform.code import changes, desired, document
from gmqtt_platform.code.document import BadDocument

pytestmark = pytest.mark.django_db

WHOLE = """
groups:
  - name: plant
    description: meters of the plant
    namespace: [plant]
clients:
  - client_id: meter-1
    groups: [plant]
    transports: [tls, tcp]
    credentials:
      - password_file: meter-1.password
      - username: shared
        client_ids: "m-*"
        generate: true
  - client_id: by-certificate
    credentials:
      - subject: CN=meter
  - client_id: generated
rules:
  - {effect: allow, action: both, filter: "plant/${clientid}/#", group: plant}
  - {effect: deny, action: publish, filter: x, client: meter-1, priority: 5, note: why}
bans:
  - {kind: address, value: 10.1.2.3/8, until: 2200-01-01, reason: noise}
export_rules:
  - {filter: "plant/#", kafka_topic: export}
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    (tmp_path / "meter-1.password").write_text("a long pass phrase\n")

    def one(text: str, name: str = "platform.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return one


def plan(path: Path, prune: bool = False) -> list[changes.Change]:
    return changes.plan(desired.read(document.load(path)), prune)


def apply(path: Path, prune: bool = False) -> tuple[list[str], list[tuple[str, ...]]]:
    found, secrets = plan(path, prune), []
    changes.apply(SYSTEM, found, lambda *each: secrets.append(each))
    return [f"{each.do} {each.what} {each.name}" for each in found], secrets


def test_made_once_audited_and_announced(write: Any) -> None:
    path = write(WHOLE)
    made, secrets = apply(path)
    assert [each.split()[0] for each in made] == ["add"] * 8
    assert [each[:2] for each in secrets] == [("meter-1", "shared"), ("generated", "generated")]
    client = Client.objects.get(client_id="meter-1")
    assert client.transports == ["tcp", "tls"]
    assert [group.name for group in client.groups.all()] == ["plant"]
    assert [(each.kind, each.username, each.client_ids) for each in client.credentials.all()] == [
        ("password", "meter-1", ""),
        ("secret", "shared", "m-*"),
    ]
    assert Credential.objects.get(kind="x509").subject == "CN=meter"
    assert Client.objects.get(client_id="by-certificate").credentials.count() == 1
    assert Ban.objects.get().value == "10.0.0.0/8"
    assert AclRule.objects.count() == 2
    assert ExportRule.objects.get().key_template == "${topic}"
    assert {"client", "credentials", "rules", "bans"} <= set(Change.objects.values_list("what", flat=True))
    assert LogEntry.objects.filter(object_repr="meter-1").exists()
    assert not plan(path)
    assert apply(path) == ([], [])


def test_changes_are_shown_with_before_and_after(write: Any) -> None:
    apply(write(WHOLE))
    text = WHOLE.replace("meters of the plant", "all meters").replace("priority: 5", "priority: 7")
    text = text.replace("groups: [plant]\n", "enabled: false\n").replace("noise", "more noise")
    text = text.replace('"m-*"', '"n-*"').replace(
        "kafka_topic: export", "kafka_topic: export, enabled: false"
    )
    Path(write(text).parent / "meter-1.password").write_text("another pass phrase")
    found = plan(write(text))
    assert {(each.what, str(each.details)) for each in found if each.details} == {
        ("group", "{'description': ['meters of the plant', 'all meters']}"),
        ("client", "{'enabled': [True, False]}"),
        ("rule", "{'priority': [5, 7]}"),
        ("ban", "{'reason': ['noise', 'more noise']}"),
        ("export rule", "{'enabled': [True, False]}"),
    }
    assert [each.name for each in found if each.what == "credential"] == ["meter-1 meter-1", "meter-1 shared"]
    apply(write(text))
    assert not plan(write(text))
    assert [group.name for group in Client.objects.get(client_id="meter-1").groups.all()] == ["plant"]


def test_prune_only_when_asked_and_only_in_its_sections(write: Any) -> None:
    apply(write(WHOLE))
    bans.ban_for_a_while("address", "192.0.2.1/32", Ban.objects.get().until, "guessing")
    groups.create(SYSTEM, "other")
    less = write("clients:\n  - client_id: generated\nbans: []\n")
    assert not plan(less)
    made, _ = apply(less, prune=True)
    assert sorted(made) == sorted(
        ["remove client meter-1", "remove client by-certificate", "remove ban address 10.0.0.0/8"]
    )
    assert ClientGroup.objects.count() == 2
    assert Ban.objects.get().automatic


def test_a_hash_of_another_broker_is_taken_as_it_is(write: Any) -> None:
    encoded = make_password("theirs")
    path = write(f'clients:\n  - client_id: c\n    credentials:\n      - password_hash: "{encoded}"\n')
    apply(path)
    assert Credential.objects.get().secret == encoded
    assert not plan(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("clients:\n  - client_id: a\n    enabled: maybe\n", "3: clients[0].enabled: 'maybe'; true or false"),
        ("clients:\n  - client_ib: a\n", "2: clients[0].client_ib: an unknown key; did you mean client_id?"),
        ("clients:\n  - {}\n", "2: clients[0]: client_id is missing"),
        ("clients:\n  - client_id: a\n  - client_id: a\n", "3: clients[1]: the same as in line 2"),
        ("client:\n  - a\n", "an unknown key; did you mean clients?"),
        ("clients: 1\n", "1: clients: 1; a list is wanted"),
        ("groups:\n  - name: a/b\n", "2: groups[0].name: A group's name has none of"),
        ("groups:\n  - name: a\n    name: b\n", "3: groups[0].name: twice; first in line 2"),
        ("rules:\n  - {effect: allow, action: both, filter: a#}\n", "2: rules[0].filter: Not a topic filter"),
        (
            "rules:\n  - {effect: allow, action: both, filter: a, group: nobody}\n",
            "there is no group 'nobody'",
        ),
        ("rules:\n  - {effect: deny, action: both, filter: a, max_qos: 1}\n", "only allow rules have limits"),
        (
            "rules:\n  - {effect: allow, action: both, filter: a, client: b, group: c}\n",
            "for a client, or a group",
        ),
        ("bans:\n  - {kind: address, value: nowhere}\n", "2: bans[0].value: Not an IP address or network"),
        (
            "bans:\n  - {kind: username, value: a, until: 2001-01-01}\n",
            "2: bans[0].until: this is in the past",
        ),
        (
            "clients:\n  - client_id: a\n    credentials:\n      - password_file: none\n",
            "4: clients[0].credentials[0].password_file",
        ),
        (
            "clients:\n  - client_id: a\n    credentials:\n      - password_env: NO_SUCH\n",
            "no variable NO_SUCH",
        ),
        ("clients:\n  - client_id: a\n    credentials:\n      - username: b\n", "one of password_file"),
        ("clients:\n  - client_id: a\n    credentials:\n      - password_hash: what\n", "not a hash"),
        ("clients: [\n", "2: "),
        ("a: &a [*a]\n", "nested too deeply, or in itself"),
        ("clients: !!python/object/apply:os.system ['true']\n", "1:"),
    ],
)
def test_mistakes_are_named_by_line_and_key(write: Any, text: str, what: str) -> None:
    path = write(text)
    with pytest.raises(BadDocument) as error:
        plan(path)
    assert what in str(error.value)
    assert str(error.value).startswith(str(path))


def test_aliases_do_not_multiply(write: Any) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(BadDocument, match=r"values, counting those that aliases repeat|nested too deeply"):
        plan(write("\n".join(lines)))


def test_all_mistakes_at_once(write: Any) -> None:
    with pytest.raises(BadDocument) as error:
        plan(write("groups:\n  - name: 'a/b'\n  - name: c\n    descripton: d\n  - name: [e]\n"))
    assert len(str(error.value).splitlines()) == 2  # of what cannot be read; then of what it says
