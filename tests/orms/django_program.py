"""Use Django with the backend that the manual shows.

The arguments are the driver, the port, and the folder with the backend.
"""

import sys

driver, port, folder = sys.argv[1:]
if driver == "psycopg2":
    sys.modules["psycopg"] = None  # which Django would take if it could

sys.path.insert(0, folder)

import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    USE_TZ=True, TIME_ZONE="Europe/Berlin",
    DATABASES={"default": {
        "ENGINE": "lending", "NAME": "postgres", "USER": "postgres",
        "HOST": "127.0.0.1", "PORT": port, "CONN_HEALTH_CHECKS": True}})
django.setup()

from django.db import (  # noqa: E402
    IntegrityError,
    close_old_connections,
    connection,
    models,
    transaction,
)
from lending import base  # noqa: E402


class Book(models.Model):
    title = models.CharField(max_length=100, unique=True)
    facts = models.JSONField(default=dict)
    read_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "books"


def use():
    """Do what programs do."""
    Book.objects.create(
        title="Dune", facts={"pages": 412},
        read_at=django.utils.timezone.now())
    book = Book.objects.get(facts__pages=412)
    assert book.facts == {"pages": 412}
    assert book.read_at.tzinfo is not None
    Book.objects.bulk_create(Book(title=str(i)) for i in range(300))
    assert len(list(Book.objects.iterator(chunk_size=50))) == 301
    try:
        with transaction.atomic():
            Book.objects.create(title="Emma")
            Book.objects.create(title="Dune")
    except IntegrityError:
        assert not Book.objects.filter(title="Emma").exists()
    with transaction.atomic():
        Book.objects.create(title="Emma")
        with transaction.atomic():
            Book.objects.filter(title="0").delete()
    assert Book.objects.filter(title="Emma").count() == 1
    connection.ops.last_executed_query(
        connection.cursor(), "select %s", ("x",))
    assert connection.introspection.table_names()


with connection.schema_editor() as editor:
    editor.create_model(Book)
try:
    for _ in range(2):  # the second time on the connection that came back
        use()
        Book.objects.all().delete()
        first = connection.connection.info.backend_pid
        close_old_connections()
        assert connection.connection is None
    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        assert cursor.fetchone() == (first,)
finally:
    with connection.schema_editor() as editor:
        editor.delete_model(Book)
connection.close()
pool, = base.pools.values()
assert pool._connections == 0
assert len(pool._idle_cache) == 1
sys.stdout.write("all is well\n")
