from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Who else has a user name is asked at every CONNECT."""

    dependencies = [("mqtt_auth", "0005_rights_namespaces")]

    operations = [
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=~models.Q(username=""), fields=["username"], name="credentials_by_username"
            ),
        ),
    ]
