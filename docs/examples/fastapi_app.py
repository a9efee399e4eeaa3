"""A web application with FastAPI, whose functions run in threads.

It is run like this, with as many processes as wanted:
python database.py
uvicorn fastapi_app:app --workers 4
"""

from database import execute, pool
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse

from dbutils.pooled_db import TooManyConnectionsError

app = FastAPI()


def reading():
    """Lend a connection for a request; nothing is committed."""
    with pool.connection() as db:
        yield db


@app.get("/notes")
def show(db=Depends(reading)):
    """Return all notes."""
    return [text for text, in execute(db, "select text from notes")]


@app.post("/notes", status_code=204)
def add(text: str):
    """Add a note; the answer is sent when it is committed."""
    with pool.transaction() as db:
        execute(db, "insert into notes values (%s)", text)


@app.exception_handler(TooManyConnectionsError)
def busy(request, error):
    """Ask to come again; the log of the server tells who is in the way."""
    return JSONResponse(
        "Please try again soon.", 503, headers={"Retry-After": "2"})
