from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """What nodes have to hear of, as a table that every process follows."""

    dependencies = [("mqtt_auth", "0003_compat_credentials")]

    operations = [
        migrations.CreateModel(
            name="Change",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("what", models.CharField(max_length=16)),
                ("client_ids", models.JSONField(null=True)),
                ("at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["at"], name="changes_by_time")],
            },
        ),
    ]
