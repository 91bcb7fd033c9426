from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("cluster", "0001_initial")]

    operations = [migrations.RenameField("clusternode", "life", "incarnation")]
