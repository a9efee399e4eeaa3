"""The monitor of a cluster, which works in the background.

It has one connection to each server, and asks it for its role: often while
connections are in use, and very often while a server is in doubt.  As long as
nothing is used, it asks nothing, and has no connection.
"""

from __future__ import annotations

from time import monotonic

from .._base.errors import log_swallowed, quietly
from .._base.finalizers import note_lost
from .._base.fork import abandon_socket, register_for_fork
from .._base.hints import Any, ref
from .._base.housekeeper import Chore, Task, housekeeper
from .._drivers.registry import driver_of
from .._drivers.standing import UNKNOWN
from .._steady.deadlines import load_sockets
from .._steady.state import QUIET

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from .cluster import Cluster
    from .host import Host

__all__ = ["Monitor"]

# How many beats of the monitor there are in the time of a probe, after how
# many a server is asked again while connections are in use, and one that has
# been away for long, and after how many without an answer it counts as silent;
# while connecting, after how many it cannot be used, and after how many it
# counts as silent.
_BEATS = 10
_OFTEN = 1
_SELDOM = 2
_SILENT = 3
_CONNECTING = 10, 30
# In seconds, the time between two questions while a server is in doubt, and
# for how long it is asked as often as that.
_SOON = 0.05
_DOUBTFUL = 30.0
# In seconds, how long a server rests at most after an attempt to ask it.
_LONGEST_REST = 3.0
# For how many probes nothing is used until the monitor rests.
_REST = 10


class Monitor:
    """Looks at the servers of a cluster while it is used."""

    def __init__(self, cluster: Cluster) -> None:
        self._link = ref(cluster)
        self._beat = cluster.probe / _BEATS
        self._watches = [
            Watch(cluster, host, self._beat) for host in cluster.hosts]
        self._chore = Chore(self, "look")
        # The use that was seen at the last look, and when it last changed.
        self._use: Any = None
        self._used_at = monotonic()
        register_for_fork(self)

    def after_fork(self) -> None:
        """Leave the connections to the parent of a forked child."""
        for watch in self._watches:
            watch.leave_to_parent()

    def hurry(self, host: Host | None = None) -> None:
        """Look at a server, or at all, as soon as possible."""
        for watch in self._watches:
            if host in {None, watch.host}:
                watch.hurry()
        self._chore.begin(0)

    def look(self) -> None:
        """Ask the servers that are to be asked now."""
        cluster = self._link()
        if cluster is None:
            self._chore.end()
            return
        is_busy = self._note_use(cluster)
        if monotonic() - self._used_at > _REST * cluster.probe:
            self._chore.plan(cluster.probe)
            for watch in self._watches:
                watch.rest()
            return
        pauses = [
            watch.look(cluster, self._beat * (_OFTEN if is_busy else _BEATS))
            for watch in self._watches]
        self._chore.plan(min(pauses))

    def _note_use(self, cluster: Cluster) -> bool:
        """Return whether connections were in use since the last look."""
        use = cluster.use()
        is_busy = use != self._use or cluster.is_in_use()
        self._use = use
        if is_busy:
            self._used_at = monotonic()
        return is_busy


class Watch:
    """The connection of the monitor to one server."""

    def __init__(self, cluster: Cluster, host: Host, beat: float) -> None:
        self._link = ref(cluster)
        self.host = host
        self._beat = beat
        self._con: Any = None
        # The question that is asked, for how many looks it is, what had been
        # done on other connections when it was begun, and whether it was cut.
        self._question: Question | None = None
        self._looks = 0
        self._use: Any = None
        self._is_given_up = False
        self._due_at = 0.0
        self._doubted_at: float | None = None

    def __del__(self) -> None:
        """Close the connection."""
        try:
            self._close()
        except BaseException as error:  # noqa: BLE001 - no caller can catch it
            # the driver closes its connection when that is dropped
            if note_lost is not None:  # as when modules were emptied
                note_lost("closing the connection of a monitor", error)

    def hurry(self) -> None:
        """Ask at the next look."""
        self._due_at = 0.0
        self._doubted_at = None

    def rest(self) -> None:
        """Close the connection until the next question."""
        if self._question is None:
            self._close()
        self._due_at = 0.0

    def _close(self) -> None:
        con, self._con = self._con, None
        if con is not None:
            with quietly("closing the connection of a monitor"):
                con.close()

    def leave_to_parent(self) -> None:
        """Leave the connection to the parent of a forked child."""
        con, self._con, self._question = self._con, None, None
        if con is not None:
            abandon_socket(con, self._descriptor(con))

    def _descriptor(self, con: Any) -> Any:
        return driver_of(con, self.host.dbapi).descriptor(con)

    def look(self, cluster: Cluster, pause: float) -> float:
        """Ask the server if that is due, or note that it is silent.

        pause: the seconds between two questions
        Return the seconds until the next look.
        """
        if self._question is not None:
            self._looks += 1
            self._note_silence(cluster)
            return self._beat
        now = monotonic()
        if self._is_in_doubt(now):
            pause = min(pause, _SOON)
        elif self._doubted_at is not None:  # it has been away for long
            pause = max(pause, self._beat * _SELDOM)
        self._due_at = min(self._due_at, now + pause)
        if now + self._beat / 2 > self._due_at:  # looks are not so precise
            self._due_at = now + pause
            if self.host.error is None or self._looks < _CONNECTING[0]:
                self._looks = 0  # or the last attempt to connect goes on
            self._is_given_up = False
            self._use = cluster.use(self.host)
            self._question = question = Question(self)
            if not housekeeper.do(question):
                self._question = None
        return min(self._beat, pause)

    def _is_in_doubt(self, now: float) -> bool:
        """Return whether the server is of no use, but perhaps soon."""
        host = self.host
        if host.error is None and host.role != UNKNOWN:
            self._doubted_at = None
            return False
        if self._doubted_at is None:
            self._doubted_at = now
        return now - self._doubted_at < _DOUBTFUL

    def _note_silence(self, cluster: Cluster) -> None:
        """Give a server up that does not answer, once for each question.

        The looks are counted, and not the time: a process that is slow itself
        looks later, too.  They are counted anew when it has answered others.
        """
        con, host, use = self._con, self.host, cluster.use(self.host)
        if use != self._use:
            self._looks, self._use = 0, use
            return
        error = TimeoutError(
            f"it has been silent for {self._looks * self._beat:.3g} seconds")
        is_late = con is None and self._looks >= _CONNECTING[0]
        is_last = self._looks == _CONNECTING[1] if con is None else (
            self._looks >= _SILENT and not self._is_given_up)
        if is_late:
            cluster.note_failure(host, error)
        if not is_last:
            return
        if con is None:
            cluster.note_silence(host, error)
        elif self._is_silent(con):
            self._is_given_up = True
            cluster.note_silence(host, error)
            self._cut(con)

    def _is_silent(self, con: Any) -> bool:
        """Return whether no answer has come, as far as one can see."""
        descriptor = self._descriptor(con)
        return descriptor is None or (
            load_sockets().SocketProbe(descriptor).look() is QUIET)

    def _cut(self, con: Any) -> None:
        """End the question that is not answered."""
        with quietly("ending the question of a monitor"):
            descriptor = self._descriptor(con)
            if descriptor is not None:
                copy = load_sockets().copy_of(descriptor)
                try:
                    load_sockets().shut_down(copy)
                finally:
                    copy.close()

    def ask(self, question: Question) -> None:
        """Ask the server, and note its answer; a worker thread does this."""
        cluster = self._link()
        try:
            if cluster is not None:
                self._ask(cluster)
        finally:
            if self._question is question:
                self._question = None

    def _ask(self, cluster: Cluster) -> None:
        start = monotonic()
        try:
            if self._con is None or self._has_changed(cluster):
                # a proxy leads it to another server without a word
                self._close()
                self._con = self.host.open(*cluster.arguments)
                self._has_changed(cluster)
        except Exception as error:  # noqa: BLE001 - also those of the program
            log_swallowed("asking a server for its role", error)
            self._close()
            cluster.note_failure(self.host, error)
            if len(cluster.hosts) > 1:  # the next attempt can take as long
                self.host.rest(min(monotonic() - start, _LONGEST_REST))

    def _has_changed(self, cluster: Cluster) -> bool:
        """Note what the server says; return whether its role has changed."""
        before, start = self.host.role, monotonic()
        standing = cluster.standing(self._con)
        cluster.note_standing(self.host, standing, monotonic() - start)
        return standing.role != before


class Question(Task):
    """A question to a server, asked by a worker thread."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def run(self) -> None:
        """Ask the server."""
        self._watch.ask(self)
