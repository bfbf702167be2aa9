"""Policies for its tasks."""

from spoils.django import DjangoTask


class StrictTask(DjangoTask):
    """Never tries again."""

    task_type = "strict"
    max_retries = 0


class EachSecondTask(DjangoTask):
    """Runs a task at each second."""

    task_type = "each_second"
    cron = "* * * * * *"
    function: str = "tests.django_app.tasks.tick"
