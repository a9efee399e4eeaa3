"""A web application with Django, in one file, whose views share a pool.

It is run like this, with as many processes and threads as wanted:
python database.py
gunicorn --workers 2 --threads 8 --preload django_app:app

Statements of your own go to a pool beside the models, as here.  The manual
shows how the models take their connections from a pool, too.
"""

import os
import secrets

from database import execute, pool
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

from dbutils.pooled_db import TooManyConnectionsError

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"], ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    MIDDLEWARE=[f"{__name__}.Busy"])


class Busy:
    """Answer with 503 if no connection was free in time."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        """Ask to come again."""
        if isinstance(error, TooManyConnectionsError):
            return HttpResponse(
                "Please try again soon.", status=503,
                headers={"Retry-After": "2"})
        return None


def notes(request):
    """Add a note, or return all of them."""
    if request.method == "POST":
        with pool.transaction() as db:
            execute(
                db, "insert into notes values (%s)", request.POST["text"])
        return HttpResponse(status=204)
    with pool.connection() as db:
        found = execute(db, "select text from notes").fetchall()
    return JsonResponse([text for text, in found], safe=False)


urlpatterns = [path("notes", notes)]
app = get_wsgi_application()
