"""The pages of the shop."""

import json

import spoils
from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shop.jobs import MailReceipt
from shop.models import Order


@csrf_exempt
@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """Insert an order and enqueue its job, in one transaction."""
    with transaction.atomic():
        order = Order.objects.create(email=json.loads(request.body)["email"])
        job = spoils.enqueue(MailReceipt(order_id=order.id), connection=connection)
    return JsonResponse({"order": order.id, "job": str(job.id)})
