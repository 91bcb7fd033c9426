"""Every text of the console is there in both languages, and what runs is what was translated."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Field
from django.test import Client as Browser
from django.utils import translation

from apps.auth.models import Client
from apps.console import translating

APPS = Path(__file__).resolve().parents[3] / "apps"
CONSOLE = APPS / "console"
PAGES = (CONSOLE, APPS / "cluster", APPS / "auth")
CATALOG = CONSOLE / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
DJANGO_KNOWS = {"Log in", "Welcome back to", "Home"}


def used() -> set[str]:
    found: set[str] = set()
    for template in (each for app in PAGES for each in app.glob("templates/**/*.html")):
        found |= set(re.findall(r"""{% translate (?:"([^"]+)"|'[^']+') %}""", template.read_text()))
        found |= set(re.findall(r"""{% translate '([^']+)' %}""", template.read_text()))
    admin_pages = (module for app in PAGES for module in app.glob("admin/*.py"))
    for module in (*CONSOLE.glob("*.py"), *admin_pages):
        found |= set(re.findall(r'\b_\("([^"]+)"\)', module.read_text()))
    return found - {""} - DJANGO_KNOWS


def of_models() -> set[str]:
    """What the models that the admin shows call themselves and their fields, and explain of them."""
    found: set[str] = set()
    for model in admin.site._registry:
        if model._meta.app_label in translating.APPS:
            found |= {str(model._meta.verbose_name), str(model._meta.verbose_name_plural)}
            for field in model._meta.get_fields():
                if isinstance(field, Field) and not field.auto_created:
                    found |= {str(field.verbose_name), str(field.help_text)}
                    found |= {str(text) for _, text in field.choices or ()}
    return found - {""}


def test_everything_is_translated() -> None:
    catalog = {entry.msgid: entry.msgstr or entry.msgstr_plural for entry in polib.pofile(str(CATALOG))}
    with translation.override("en"):
        wanted = used() | of_models()
    assert wanted - set(catalog) == set()
    assert [text for text, translated in catalog.items() if not translated] == []


def test_the_compiled_catalog_is_current() -> None:
    """`make messages` compiles it."""
    source, compiled = polib.pofile(str(CATALOG)), polib.mofile(str(CATALOG.with_suffix(".mo")))
    texts = [
        {entry.msgid: entry.msgstr or entry.msgstr_plural for entry in each} for each in (source, compiled)
    ]
    assert texts[0] == texts[1]


@pytest.mark.django_db
def test_a_page_is_in_the_language_of_whoever_looks() -> None:
    page = Browser(headers={"host": "localhost", "accept-language": "zh-hans"})
    page.force_login(User.objects.create_superuser("someone"))
    content = page.get("/admin/mqtt_auth/ban/add/").content.decode()
    for text in ("客户端标识模式", "留空：永久。", "类型", "截止"):
        assert text in content
    assert "Empty: for good." not in content
    Client.objects.create(client_id="c")
    content = page.get("/admin/mqtt_auth/client/").content.decode()
    assert "停用并断开" in content and "显示名称" in content
