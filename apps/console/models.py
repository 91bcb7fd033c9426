"""What the dashboard's charts are drawn from; and the console's own permissions."""

from __future__ import annotations

from django.db import models


class Sample(models.Model):
    """Averages of one node over `step` seconds. `sampler.STEPS` says how long they are kept."""

    node = models.CharField(max_length=64)
    step = models.PositiveSmallIntegerField(help_text="Seconds.")
    at = models.DateTimeField(help_text="End of the step.")
    values = models.JSONField(help_text="`sampler.FIELDS`: gauges, and rates per second.")

    class Meta:
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["step", "at", "node"], name="one_sample_per_step")]

    def __str__(self) -> str:
        return f"{self.node} {self.at:%F %T} ({self.step} s)"
