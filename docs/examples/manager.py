"""Many databases, a pool for each, and one place that looks after them.

DATABASE_URL can have {} in the place of the name of a database, like
postgresql://user@host/{} or mysql://user@host/{}; otherwise these are files.
"""

import os

from dbutils.pool_manager import (
    ConnectionConfig,
    PoolConfig,
    PoolEvictedError,
    get_pool_manager,
)

URL = os.environ.get("DATABASE_URL", "sqlite:///{}.db")

manager = get_pool_manager()
manager.set_default_pool_config(PoolConfig(max_total=5, max_wait_time=2))
manager.set_max_pools(2)

for shop in ("north", "south"):
    with manager.get_connection(URL.format(shop)) as db:
        db.cursor().execute(
            "create table if not exists sales (amount integer)")
        db.cursor().execute("insert into sales values (7)")
        db.commit()

north = manager.get_pool_by_name(
    "north", ConnectionConfig.from_url(URL.format("north")))
with north.get_connection() as db, db.cursor() as cursor:
    cursor.execute("select sum(amount) from sales")
    print("north has sold", cursor.fetchone()[0])

health = manager.health_check()
print(health["status"], "with", health["healthy_pools"], "pools")

# A third pool takes the place of the one that was not used for longest.
south = manager.get_pool(URL.format("south"))
with manager.get_connection(URL.format("west")):
    pass
try:
    north.get_connection()
except PoolEvictedError as error:
    print(error)
print(manager.get_statistics()["manager_stats"])
manager.shutdown()
