"""As in many an application, its models import its tasks while Django sets up."""

from django.db import models

from tests.django_app import tasks


class Order(models.Model):
    paid = models.BooleanField(default=False)

    def charge(self) -> object:
        return tasks.charge.enqueue(self.pk)
