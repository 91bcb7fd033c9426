from __future__ import annotations
import pytest
from guardian.shortcuts import assign_perm
from django.contrib.auth.models import Permission
from tests.apps.auth.admin.test_object_permissions import browser_of
from tests.apps.auth.admin.test_pages import ADMIN, inline
from tests.apps.auth.factories import *
pytestmark = pytest.mark.django_db

def test_probe(alice, bob, charlie, pumps):
    b = browser_of(bob)
    mine = ClientFactory(client_id="mine", groups=[pumps]); c = CredentialFactory(client=mine)
    GroupFactory(name="valves-secret")
    print("group leak:", "valves-secret" in b.get(ADMIN + "client/").content.decode())
    print("hash oracle hit:", "1 credential" in b.get(ADMIN + "credential/?secret__startswith=" + c.secret[:20]).content.decode())
    print("hash oracle miss:", "1 credential" in b.get(ADMIN + "credential/?secret__startswith=nope").content.decode())
    acct = AccountFactory()
    a = browser_of(alice)
    print("acct oracle:", "1 service account" in a.get(ADMIN + "serviceaccount/?signing_key__startswith=" + acct.signing_key[:10]).content.decode(), "1 service account" in a.get(ADMIN + "serviceaccount/?signing_key__startswith=zz").content.decode())
    # lost update
    stale = {"display_name": mine.display_name, "owner": "second", "enabled": "on", "groups": [pumps.pk], "transports": ["tls"]} | inline("credentials") | inline("rules")
    Client.objects.filter(pk=mine.pk).update(display_name="first")
    b.post(f"{ADMIN}client/{mine.pk}/change/", stale)
    mine.refresh_from_db(); print("lost update:", mine.display_name == "")
    charlie.user_permissions.add(*Permission.objects.filter(codename__in=["view_clientgroup", "change_clientgroup"]))
    ch = browser_of(charlie)
    r = ch.post(f"{ADMIN}clientgroup/{pumps.pk}/permissions/user-manage/{charlie.pk}/", {"permissions": ["view_members", "manage_members", "manage_rules"]})
    from guardian.shortcuts import get_perms
    print("escalation:", r.status_code, get_perms(type(charlie).objects.get(pk=charlie.pk), pumps))
    assign_perm("view_members", bob, pumps)
    r = b.get(f"{ADMIN}clientgroup/{pumps.pk}/permissions/"); print("bob perms page", r.status_code)
    v = UserFactory(username="viewer", is_staff=True); v.user_permissions.add(*Permission.objects.filter(codename__startswith="view_", content_type__app_label="mqtt_auth"))
    vb = browser_of(v)
    for p in ("client", "clientgroup", "aclrule", "ban", "role", "serviceaccount"):
        print(p, vb.get(ADMIN + p + "/").status_code)
    print(vb.get(f"{ADMIN}client/{mine.pk}/change/").status_code)
    for q in ("client/?last_seen__gte=x","client/?p=999","client/?groups__id__exact=abc","client/zz/change/","client/1%00/change/","client/?q=%00","client/?e=1", "client/99999999999999999999999/change/", "client/?id__in=99999999999999999999999", "client/99999999999999999999999/history/","client/zz/history/"):
        try: print(q, a.get(ADMIN + q).status_code)
        except BaseException as e: print(q, "RAISED", type(e), e)
