"""What a statement may do to the data and to the session.

A statement is not parsed, only looked at; in doubt it counts as work, and as
one that marks the session.  Both only make the library more careful.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

__all__ = ["READ", "UNKNOWN_WORK", "Kind", "kind_of", "seen"]


class Kind(NamedTuple):
    """What is known about a statement."""

    # It changes nothing and locks nothing, so it can be executed again.
    is_read: bool
    # The session is not as before afterwards: other statements can have
    # another meaning, or find things that no other session has.
    marks: bool


READ = Kind(is_read=True, marks=False)
UNKNOWN_WORK = Kind(is_read=False, marks=False)
MARK = Kind(is_read=False, marks=True)

# What may stand before the first word.
_BLANK = re.compile(
    r"(?:\s+|--[^\n]*\n|#[^\n]*\n|/\*(?![!+]).*?\*/|\()*", re.S)

_READ = re.compile(
    r"(?:select|show|explain|desc|describe|values|table)\b", re.I)

# What a statement that begins like a read must not contain.
_NO_READ = re.compile(
    r"""\bfor\s+(?:no\s+key\s+)?(?:update|share|key\s+share)\b
    | \block\s+in\s+share\s+mode\b | \binto\b | \banalyze\b
    | \bwith\s*\(\s*(?:updlock|xlock|tablockx?|holdlock)
    | \b(?:next_?val|set_?val|last_insert_id|get_lock|release_lock|sleep)\s*\(
    | \bnext\s+value\s+for\b | _lock\w*\s*\( | \bset_config\s*\(
    | \bpg_(?:terminate|cancel|notify|reload|rotate|switch|create|drop)
    | \b(?:lo_\w+|dblink\w*|txid_current|pg_current_xact_id)\s*\(
    | ; \s* \S""", re.I | re.X)

# The beginnings of statements that leave something behind in the session.
_MARK = re.compile(
    r"""(?: (?:^|;) \s*
        (?: set \s+ (?! (?:local|transaction|constraints)\b )
          | reset\b | listen\b | unlisten\b | prepare\b | deallocate\b
          | declare\b | use\b | discard\b | lock \s+ (?:tables?|instance)\b
          | unlock\b | handler\b | load \s+ ' | attach\b | detach\b
          | pragma \s+ (?! [\w.]+ \s* (?:;\s*)? $
              | [\w.]*(?:_x?info|_list|_check|_columns) \s* \( )
          | create \s+ (?:or\s+replace\s+)? (?:(?:global|local)\s+)?
            temp(?:orary)?\b
          | create \s+ table \s+ \# | alter \s+ session\b )
    | \binto \s+ (?:temp(?:orary)?\b | \@ | \#)
    | \bset_config \s* \( (?! [^;]* , \s* true \s* \) )
    | \b(?:pg_(?:try_)?advisory_(?:lock|unlock)\w* | get_lock | release_lock
        | release_all_locks | dblink_connect | set_limit | pg_export_snapshot)
        \s* \(
    )""", re.I | re.X)

# The kinds of the statements that were seen last, so that most statements
# cost one look into a dictionary, also by others.
_LIMIT = 1000
_LONGEST = 5000
seen: dict[Any, Kind] = {}


def kind_of(statement: Any) -> Kind:
    """Return what is known about a statement."""
    try:
        return seen[statement]
    except (KeyError, TypeError):  # not seen yet, or not hashable
        return _new_kind(statement)


def _new_kind(statement: Any) -> Kind:
    if isinstance(statement, (bytes, bytearray)):
        statement = bytes(statement).decode("latin-1")
    if not isinstance(statement, str):
        return _composed_kind(statement)
    kind = _look_at(statement)
    if len(statement) <= _LONGEST:
        if len(seen) >= _LIMIT:
            seen.clear()
        seen[statement] = kind
    return kind


def _look_at(text: str) -> Kind:
    text = text[_BLANK.match(text).end():]  # type: ignore[union-attr]
    if _READ.match(text) and not _NO_READ.search(text):
        return READ
    return MARK if _MARK.search(text) else UNKNOWN_WORK


def _composed_kind(statement: Any) -> Kind:
    """Return what is known about a statement made by a driver's tools.

    Their text cannot be had without a connection, but all of its parts are
    in their representation.
    """
    parts = re.sub(r"""SQL\(|Composed\(|["'\[\](),]""", " ", repr(statement))
    return MARK if _look_at(parts.strip()).marks else UNKNOWN_WORK
