"""Which view answers which path. Served by `wsgi.py`."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("count/<int:last>", views.count, name="count"),
    path("forget", views.forget, name="forget"),
    path("source", views.source, name="source"),
    path("upload", views.upload, name="upload"),
]
