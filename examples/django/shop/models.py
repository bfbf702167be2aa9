"""The tables of the shop."""

from django.db import models


class Order(models.Model):
    """An order of a customer."""

    email = models.TextField()
    mailed_at = models.DateTimeField(null=True)
