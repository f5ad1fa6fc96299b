"""Which view answers which path. Served by `wsgi.py`."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("count/<int:last>", views.count),
    path("forget", views.forget),
    path("source", views.source),
    path("upload", views.upload),
]
