from __future__ import annotations

from django.db import migrations, models

import apps.common.validators


class Migration(migrations.Migration):
    """Topic namespaces of client groups."""

    dependencies = [("mqtt_auth", "0004_rights_changes")]

    operations = [
        migrations.AlterModelOptions(
            name="clientgroup",
            options={
                "ordering": ["name"],
                "permissions": [
                    ("view_members", "Can see the clients of the group"),
                    (
                        "manage_members",
                        "Can register, change and unregister clients of the group, and subscribe them to what the "
                        "access rules and the group's namespace allow",
                    ),
                    (
                        "manage_rules",
                        "Can change the access rules of the group and its clients: inside the group's namespace, or "
                        "without one only to what they may do already",
                    ),
                    (
                        "read_members",
                        "Can read what the clients of the group publish and receive, inside its namespace "
                        "(web client)",
                    ),
                    (
                        "command_members",
                        "Can publish to what the clients of the group subscribe to, inside its namespace "
                        "(web client)",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="clientgroup",
            name="namespace",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text='Topic prefixes such as ["acme"]: what operators of the group allow, subscribe, '
                "replay and read by their rights on it stays inside. Empty: they allow nothing that its clients may "
                "not do already.",
                validators=[apps.common.validators.topic_prefixes],
            ),
        ),
    ]
