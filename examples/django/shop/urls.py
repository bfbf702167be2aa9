"""The addresses of the shop; /queue is in wsgi.py."""

from django.contrib import admin
from django.urls import path

from shop.views import create_order

urlpatterns = [path("orders", create_order), path("admin/", admin.site.urls)]
