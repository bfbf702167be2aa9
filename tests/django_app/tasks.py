"""Its tasks."""

import asyncio

from django.db import connection

import spoils
from spoils.django import tasks as django_tasks

task = django_tasks.task


class CardDeclined(Exception):
    """The card was declined."""


@task
def charge(order_id, amount=1, card=None):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO effects (name, task_id) VALUES (%s, gen_random_uuid())", [f"charged {order_id}"]
        )
    return {"order": order_id, "amount": amount, "card": card}


@task(takes_context=True)
def attempts(context, fails):
    if context.attempt <= fails:
        raise CardDeclined(f"attempt {context.attempt} of {context.task_result.id}")
    return context.attempt


@task
async def slowly(number):
    await asyncio.sleep(0.01)
    return number * 2


@task
def outcome(kind):
    raise {
        "snooze": spoils.Snooze(600),
        "cancel": spoils.Cancel("no such order"),
        "later": spoils.RetryLater(600),
    }[kind]


@task(backend="strict")
def fails():
    raise CardDeclined("no money")


@task
def unusable():
    return object()


@task
def tick():
    charge.func("tick")


def no_task():
    raise AssertionError
