"""The effect of a statement on the data and on the session.

A statement is not parsed, only searched for words; in doubt it counts as work
and as marking the session.  Both only make the library more careful.

Comments and strings are removed first.  Databases differ in what these are:
a statement that they read differently is classified in each of the ways.
Then the first words of its parts tell their kinds; a part that is not known
to leave the session alone marks it.  Some words mark it wherever they are.
"""

from __future__ import annotations

from .._base.hints import (
    Any,
    Dict,
    Iterator,
    NamedTuple,
    Sequence,
    Tuple,
    deque,
)

__all__ = [
    "AHEAD", "MARK", "READ", "UNKNOWN_WORK", "Kind", "LazyPattern",
    "kind_of", "reads", "seen"]


class LazyPattern:
    """A regular expression that is compiled when it is first used.

    Compiling takes longer than importing a module, and most programs need few
    of the expressions.  The module re itself takes longer than half of a pool.
    """

    def __init__(self, pattern: Any, flags: str = "") -> None:
        """Keep the pattern.

        flags: the letters that stand for them in a pattern
        """
        self._pattern = f"(?{flags}){pattern}" if flags else pattern

    def __getattr__(self, name: str) -> Any:
        """Compile the pattern; keep the method, which is found next time."""
        import re  # noqa: PLC0415 - first needed now

        method = getattr(re.compile(self._pattern), name)
        setattr(self, name, method)
        return method


class Kind(NamedTuple):
    """The effect of a statement, as far as it is known."""

    # The statement changes and locks nothing, so it can be executed again.
    is_read: bool
    # The statement changes the session: later statements can mean something
    # else, or find things that no other session has.
    marks: bool


READ = Kind(is_read=True, marks=False)
UNKNOWN_WORK = Kind(is_read=False, marks=False)
MARK = Kind(is_read=False, marks=True)
# A setting of the next transaction, or of all that follow, depending on the
# database; with others it only concerns the current transaction.
AHEAD = Kind(is_read=False, marks=False)

# How many statements and shapes are remembered, and the longest of them.
_LIMIT = 2000
_LONGEST = 5000


class _Recent(Dict[Any, Kind]):
    """The kinds of what was classified last.

    Each step is one operation in C, so that threads need no lock.  A kind
    that is forgotten while its statement is in use is found again.
    """

    __slots__ = ("_order",)

    def __init__(self) -> None:
        super().__init__()
        self._order: deque[Any] = deque()

    def add(self, key: Any, kind: Kind) -> None:
        """Remember a kind, and forget the oldest when there are too many."""
        if len(key) > _LONGEST:
            return
        self[key] = kind  # first, so that all that is kept is in order, too
        self._order.append(key)
        if len(self._order) > _LIMIT:
            self.pop(self._order.popleft(), None)


# The recent statements that only read; looking one up here takes the least.
reads: dict[Any, None] = {}


class _Seen(_Recent):
    """The kinds of recent statements; a new text is classified on demand.

    It raises KeyError for what kind_of() has to look at.
    """

    __slots__ = ()

    def add(self, key: Any, kind: Kind) -> None:
        if kind is READ and len(key) <= _LONGEST:
            reads[key] = None  # first, as in add() of the base class
        super().add(key, kind)

    def pop(self, key: Any, *default: Any) -> Any:
        """Forget a statement, also as one that only reads."""
        reads.pop(key, None)
        return super().pop(key, *default)

    def __missing__(self, statement: Any) -> Kind:
        """Return the kind of a text that is not here."""
        if isinstance(statement, str):
            kind = _kind_of_text(statement)
            if kind is not AHEAD:  # readers of this treat it as usual work
                self.add(statement, kind)
                return kind
        raise KeyError(statement)


# For most statements one lookup is enough, which other modules do, too.
seen = _Seen()


def kind_of(statement: Any) -> Kind:
    """Return the kind of a statement."""
    try:
        return seen[statement]
    except (KeyError, TypeError):  # no usual text, or not hashable
        return _other_kind(statement)


def _other_kind(statement: Any) -> Kind:
    if isinstance(statement, (bytes, bytearray)):
        return kind_of(bytes(statement).decode("latin-1"))
    if isinstance(statement, str):
        return _kind_of_text(statement)
    text = _text_of(statement)
    if text is not None:
        return kind_of(text)
    if statement is None or isinstance(statement, (int, float)):
        return UNKNOWN_WORK  # an error
    # An object of an unknown class; its repr() contains its parts.
    parts = _PARTS.sub(" ", repr(statement))
    return MARK if _classify(parts).marks else UNKNOWN_WORK


_PARTS = LazyPattern(r"""\w+\(|["'\[\](),]""")

# The shape of a statement: its strings are empty, each number is a zero, and
# a comment at its end is empty.  All statements of a shape are of the same
# kind, so that a text which only has new values in it needs one more lookup.
_shapes = _Recent()
_IN_SHAPES = bytes.maketrans(b"123456789", b"000000000")
_ZEROS = LazyPattern(b"00+")
_EMPTY_COMMENT = "/**/"
# The kind of a shape that does not tell the kinds of its statements.
_DOUBTFUL = Kind(is_read=False, marks=True)


def _kind_of_text(text: str) -> Kind:
    """Return what _classify() returns, by the shape if that is certain.

    The beginning of a comment or of an unusual quote remains in the shape,
    unless it is in a string; then only a backslash means something.
    """
    head, comment = text, ""
    if text.endswith("*/"):
        if _is_strange(text):
            return MARK
        head, comment = _without_comment(text)
    if "\\" in head:
        return _classify(text)
    if "'" in head:
        pieces = head.split("'")
        if not len(pieces) % 2:
            return _classify(text)
        head = "''".join(pieces[::2])
    shape = (head + comment).encode("utf-8", "surrogatepass").translate(
        _IN_SHAPES)
    kind = _shapes.get(shape) or _kind_of_new_shape(shape)
    return _classify(text) if kind is _DOUBTFUL else kind


def _without_comment(text: str) -> tuple[str, str]:
    """Return what is before the only comment, and an empty one in its place.

    The text is returned with no comment if that is not certain.
    """
    begin, end = text.find("/*"), text.find("*/")
    if begin < 0 or end < begin + 2 or end + 2 < len(text) or (
            text[begin + 2] in "!M" or text.find("/*", begin + 2) >= 0):
        return text, ""
    return text[:begin], _EMPTY_COMMENT


def _kind_of_new_shape(shape: bytes) -> Kind:
    """Return the kind of a shape, perhaps by one with shorter numbers."""
    if len(shape) > _LONGEST:  # it would not be remembered
        return _kind_of_shape(shape.decode("utf-8", "surrogatepass"))
    shortest = _ZEROS.sub(b"0", shape)
    kind = _shapes.get(shortest)
    if kind is None:
        kind = _kind_of_shape(shortest.decode("utf-8", "surrogatepass"))
        _shapes.add(shortest, kind)
    if shape != shortest:
        _shapes.add(shape, kind)
    return kind


def _kind_of_shape(shape: str) -> Kind:
    """Return the kind of all statements that have a shape.

    In doubt is one in which a quoted name could begin in one of the pieces
    between the strings, and end in another one.
    """
    if _is_strange(shape):
        return MARK
    if not shape.endswith(_EMPTY_COMMENT):
        pieces = _pieces_of(shape)
        return _judge(" ".join(pieces)) if pieces else _DOUBTFUL
    head = shape[:-len(_EMPTY_COMMENT)]
    if not _pieces_of(head) or ('"' in head and "`" in head):
        return _DOUBTFUL
    return _classify(shape)


# Statements composed with the tools of a driver or of Python.


def _text_of(statement: Any) -> str | None:
    """Return the text of a template string or an object of psycopg.sql."""
    values = getattr(statement, "interpolations", None)
    if isinstance(values, tuple):  # a template string
        return _joined(statement.strings, values)
    if not type(statement).__module__.startswith("psycopg"):
        return None
    name = type(statement).__name__
    inside = getattr(statement, "_obj", getattr(statement, "_wrapped", None))
    if name == "SQL" and isinstance(inside, str):
        return inside
    if name == "Composed" and isinstance(inside, list):
        return "".join(map(_part, inside))
    if name == "Identifier":
        return ".".join(map(_quoted, _names(inside)))
    return None


def _joined(strings: Sequence[str], values: Sequence[Any]) -> str:
    """Return the text of a template with its values."""
    parts = [strings[0]] if strings else []
    for value, string in zip(values, strings[1:]):
        parts += [_inserted(value), string]
    return "".join(parts)


def _inserted(interpolation: Any) -> str:
    """Return the text that a value has in a template."""
    value = getattr(interpolation, "value", interpolation)
    if getattr(interpolation, "format_spec", "") == "i":
        return _quoted(str(value))
    return _part(value)


def _part(value: Any) -> str:
    """Return the text of a part, or a placeholder for a parameter."""
    text = None if isinstance(value, str) else _text_of(value)
    return " ? " if text is None else text


def _names(inside: Any) -> Sequence[str]:
    return (inside,) if isinstance(inside, str) else tuple(inside or ())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# Removing comments and strings.  The patterns scan a text once: a comment or
# string without an end takes the rest of the text, or is not tried again.

# Quoted names stay, without their quotes, if they are words.  In the standard,
# and in PostgreSQL, a backslash means nothing.  Comments can be nested, which
# the pattern does not follow: the beginning of the inner comment stays.
_IN_STANDARD = r"""[-/'"`$](?:
      (?<=-) - [^\n]*
    | (?<=/) \* [^*/]* (?: (?: \*(?!/) | /(?!\*) ) [^*/]* )*
        (?: \*/ | \Z | (/\*.*) )
    | (?<=') %s [^']* '
    | (?<=") (?: (\w*) " | [^"]* " )
    | (?<=`) (?: (\w*) ` | [^`]* ` )
    | (?<=\$) (?<![\w$]\$) ((?:[^\W\d]\w*)?) \$ (?: .*? \$\4\$ | .* )
    )"""
_STANDARD = LazyPattern(_IN_STANDARD % "", "sx")
# The same, with backslashes in the E'...' strings of PostgreSQL.
_EXTENDED = LazyPattern(_IN_STANDARD % (
    r"(?<=\b[eE]') [^'\\]* (?: (?:\\.|'') [^'\\]* )* ' | (?<=') "),
    "sx")
# MySQL executes comments with an exclamation mark.
_MYSQL = LazyPattern(r"""[-/'"`#*](?:
      (?<=-) - (?=\s|\Z) [^\n]*
    | (?<=\#) [^\n]*
    | (?<=\*) /
    | (?<=/) \*M?!\d*
    | (?<=/) \* .*? (?: \*/ | \Z )
    | (?<=') [^'\\]* (?: \\. [^'\\]* )* (?: ' | \\?\Z )
    | (?<=") (?: (\w*) " | [^"\\]* (?: \\. [^"\\]* )* (?: " | \\?\Z ) )
    | (?<=`) (?: (\w*) ` | [^`]* ` )
    )""", "sx")

# Other kinds of quotes: names with escapes, q'[it's]' of Oracle, and [it's]
# of SQL Server.
_STRANGE = LazyPattern(r"""[&'[](?:
      (?<=\bu&) " | (?<=\bq') | (?<=\bnq')
    | (?<=\[) (?<![\w\]]\[) [^\W\d] [^]['"]* ['"]
    )""", "ix")
_FIRST_LINES = LazyPattern(r"(?:\s*#[^\n]*)*")
_TAG = LazyPattern(r"\$\w*\$")
_EXTENDED_STRING = LazyPattern(r"\be'", "i")


def _clean(text: str) -> Iterator[str]:
    """Yield the text without comments and strings, as databases read it."""
    if text.startswith("#"):  # a comment of MySQL, or an error
        text = text[_FIRST_LINES.match(text).end():]
    pieces = _pieces_of(text)
    if pieces:
        yield " ".join(pieces)
        return
    yield _STANDARD.sub(r" \1\2\3 ", text)
    yield _MYSQL.sub(r" \1\2 ", text)
    if "\\" in text and _EXTENDED_STRING.search(text):
        yield _EXTENDED.sub(r" \1\2\3 ", text)


def _pieces_of(text: str) -> list[str]:
    """Return the text between the strings, an empty list in doubt.

    This is the fast way for nearly all statements.  It relies on the quoted
    names in each piece being complete: then no apostrophe is in a name.  Only
    a backslash means something in a string.
    """
    pieces = [] if "\\" in text else text.split("'")
    if not len(pieces) % 2:
        return []
    del pieces[1::2]
    text = "''".join(pieces)
    if not _is_plain(text) or _is_strange(text):
        return []
    if '"' in text or "`" in text:
        for piece in pieces:
            if piece.count('"') % 2 or piece.count("`") % 2:
                return []
    return pieces


def _is_plain(text: str) -> bool:
    """Return whether there are no comments, and strings end as they began.

    Searching for one character is many times as fast as for two.
    """
    return not (
        ("-" in text and "--" in text) or ("/" in text and "/*" in text)
        or "#" in text or ("$" in text and _TAG.search(text)))


# Classifying the rest, in lower case.  A rule is a pattern, and a string that
# every match contains: searching for the string first is fast.  Where no "_"
# is in the text, many of the strings are not in it either.
_Rules = Dict[bool, Tuple[Tuple[str, LazyPattern], ...]]


def _rules(*rows: tuple[str, str]) -> _Rules:
    rules = tuple(
        (needle, LazyPattern(pattern, "x")) for needle, pattern in rows)
    return {True: rules, False: tuple(
        rule for rule in rules if "_" not in rule[0])}


def _match(rules: _Rules, text: str) -> bool:
    """Return whether any of the rules matches."""
    for needle, pattern in rules["_" in text]:
        if needle in text and pattern.search(text):
            return True
    return False


# Beginnings of statements that leave the session alone, unless they contain
# one of the words in _MARKS.
_HARMLESS = LazyPattern(r"""\W*(?: $ | (?:
      select | insert | update | delete | merge | replace | upsert | with
    | values | table | show | desc | describe | from | summarize
    | explain (?! \s+ (?:query\s+plan\s+)? pragma\b)
    | create | alter (?! \s+ session\b) | drop | truncate | rename | comment
    | grant | revoke | analy[sz]e | vacuum | reindex | cluster | refresh
    | optimize | repair | check | checksum | checkpoint | copy | notify
    | commit | rollback | abort | end | savepoint | release
    | if (?! \b .* \b then \b )
    | start \s+ transaction
    | begin (?= \s* $ | \s+ (?: transaction | tran | work | isolation | read
        | (?:not\s+)? deferrable | deferred | immediate | exclusive
        | concurrent | distributed )\b )
    | exec(?:ute)? (?! \s+ immediate\b)
    | set \s+ (?: transaction | constraints
        | local \s+ (?! (?: transaction | sql_ | autocommit | max_ | innodb_
            | foreign_ | unique_ | wait_ | net_ | character | collation
            | tx_ | group_ | optimizer_ | time_zone )) [\w."`]* )
    | pragma \s+ (?: (?! "? (?:enable|disable|verify|force|no)_ ) [\w."]+ \s* $
        | [\w."]* (?:_x?info|_list|_check|_columns) (?= \s* \( ) )
    ) (?!\w) )""", "sx")

_AHEAD = LazyPattern(r"\W*set\s+transaction\b")

_PAREN = r"""["`\s\]]* \("""
_ARGUMENT = r"(?: %\(\w+\)s | [^(),;] )*"

# Words that mark the session wherever they are.
_MARKS = _rules(
    ("@", ":="),
    ("pg_temp", "pg_temp"),
    ("temp", r"""create \s+ (?:\w+\s+){0,7} ["`\[]? temp(?:orary)?\b
        | into \s+ (?:(?:local|global)\s+)? ["`\[]? temp(?:orary)?\b"""),
    ("into", r"into \s* @"),
    ("#", r"""(?: create \s+ \w+ | into ) \s+ [\w.\[\]"]* \#"""),
    ("set_config", r"set_config (?!" + _PAREN + _ARGUMENT + "," + _ARGUMENT
        + r", \s* true \s* \) )"),
    ("advisory_", r"advisory_(?:un)?lock"),
    ("_lock", r"""\b(?: get_lock | release_(?:all_)?locks?
        | service_\w+_locks | version_tokens_\w+ )""" + _PAREN),
    ("dblink_", r"dblink_(?:connect|disconnect|open|close|send)"),
    ("pg_settings", r"""update \s+ (?:only\s+)?
        (?: "?pg_catalog"? \s* \. \s* )? "?pg_settings\b"""),
    ("set_limit", r"\bset_limit\b"), ("setseed", r"\bsetseed\b"),
    ("export_snapshot", "pg_export_snapshot"),
    ("origin_session", "replication_origin_session"),
    ("load_extension", "load_extension"), ("dbms_", "dbms_session"),
    ("sp_", r"\bsp_(?:set|unset|getapp|releaseapp|prep|exec|cursor)"),
    # SQL Server needs no semicolon between statements
    ("set", r"""set (?<![\w.]set) \s+ (?: @ | (?! (?: null | default | not
        | schema | data | storage | statistics \s+ [-\d] | tablespace | with
        | without | logged | unlogged | utf | latin | ascii | binary | ucs
        | cp | generated | compression | local | transaction | constraints
        )) [a-z_]+ \s+ [\w.] )"""),
)

# Words that a statement which begins like a read must not contain.
_READS = LazyPattern(
    r"\W*(?:select|show|explain|desc|describe|values|table)\b")
_WRITES = _rules(
    (";", r"; \s* [^\s;]"),
    ("for", r"for \s+ (?:no\s+key\s+)? (?:update|share|key\s+share)\b"),
    ("lock", r"lock \s+ in \s+ share | lock(?:_shared)?" + _PAREN
        + r"| \b(?:updlock|xlock|tablockx?|holdlock)\b"),
    ("into", r"\binto\b"), ("analy", r"\banaly[sz]e\b"),
    ("next", r"next_?val | next \s+ value"),
    ("set", r"set_?val | set_config"),
    ("last_insert_id", r"last_insert_id" + _PAREN),
    ("sleep", "sleep" + _PAREN), ("lo_", r"\blo_\w+" + _PAREN),
    ("dblink", "dblink"), ("xid_current", "txid_current"),
    ("current_xact", "pg_current_xact_id"),
    ("pg_", r"""pg_(?: terminate | cancel | notify | reload | rotate | switch
        | create | drop | promote | logical | replication | stat_reset )"""),
    ("insert", r"\binsert\b (?!\s*\()"), ("update", r"\bupdate\b"),
    ("delete", r"\bdelete\b"), ("merge", r"\bmerge\b"),
    ("drop", r"\bdrop\b"), ("exec", r"\bexec(?:ute)?\b"),
    ("truncate", r"\btruncate\s+table\b"),
)


def _classify(text: str) -> Kind:
    """Return the strictest kind among the ways to read a statement."""
    # before a comment at the end, nothing tells what is in a string
    if _is_strange(text) and (text.endswith("*/") or not _pieces_of(text)):
        return MARK
    kind = READ
    for clean in _clean(text):
        if not _is_complete(clean):
            if "\\" in text:
                continue  # meant for a database with backslashes
            return MARK
        reading = _judge(clean)
        if reading.marks:
            return MARK
        if reading is not READ and kind is not AHEAD:
            kind = reading
    return kind


def _is_strange(text: str) -> bool:
    """Return whether there are quotes that the patterns do not cover."""
    return ("[" in text or ("&" in text and '&"' in text) or (
        "q" in text and "q'" in text) or ("Q" in text and "Q'" in text)) and (
            _STRANGE.search(text) is not None)


def _is_complete(clean: str) -> bool:
    """Return whether every string, name and comment has an end."""
    return not ("'" in clean or "/*" in clean or clean.count('"') % 2)


def _judge(text: str) -> Kind:
    """Return the kind of a text without comments and strings."""
    text = text.lower()
    parts = text.split(";")
    for part in parts:
        if not _HARMLESS.match(part):
            return MARK
    if _match(_MARKS, text):
        return MARK
    if "transaction" in text and any(map(_AHEAD.match, parts)):
        return AHEAD
    if _READS.match(text) and not _match(_WRITES, text):
        return READ
    return UNKNOWN_WORK
