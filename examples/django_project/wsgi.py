"""A small Django project: a page, sessions in signed cookies, an upload, a streamed response, a file.

It needs no database.

    pip install django
    rgunicorn --chdir examples --workers 2 django_project.wsgi
"""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_project.settings")

# The name that the server looks for where the command line gives none.
application = get_wsgi_application()
