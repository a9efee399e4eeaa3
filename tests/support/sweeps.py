"""Leases of tokens that are interrupted, and what must hold afterwards."""

from tokens import Pool

LIMIT = 2


class Lease:
    """Holds what a lease of the public pools holds."""

    def __init__(self, pool, shareable=False):
        self.pool = pool
        self.shareable = shareable
        self.permit = None

    def take(self):
        self.permit = self.pool.core.acquire(
            self.pool.backend.connect, 0, self.shareable)

    def give(self):
        permit, self.permit = self.permit, None
        if permit.is_share:
            self.pool.core.release_share(permit)
        else:
            self.pool.core.release(permit.slot.con)


def make_pool(**limits):
    return Pool(maxconnections=LIMIT, **limits)


def assert_sound(pool):
    """Check that no place is lost, and no connection left open."""
    assert pool.state[0] == 0, pool.core.slots.__dict__
    assert pool.state[2] == 0
    permits = [pool.core.acquire(pool.backend.connect, 0)
              for _ in range(LIMIT)]
    assert len({permit.slot for permit in permits}) == LIMIT
    assert pool.state[0] == LIMIT
    for permit in permits:
        assert not permit.slot.con.closed
        pool.core.release(permit.slot.con)
    for link in pool.backend.opened:
        con = link()
        assert con is None or con.closed or (
            con in pool.core.idle_connections())
    assert pool.core.shared_records() == []
