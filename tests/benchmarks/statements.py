"""How long it takes to look at a statement, at a new one and a known one."""

import sys
from timeit import repeat

from dbutils._steady import statements as _sql
from dbutils._steady.statements import kind_of

NEW = {
    "short": "select 1",
    "read": (
        "select id, customer_id, total, status, created_at, note from orders"
        " where status = 'new' and customer_id = %s order by id limit 50"),
    "read of Django": (
        'SELECT "auth_user"."id", "auth_user"."username",'
        ' "auth_user"."first_name", "auth_user"."last_name" FROM "auth_user"'
        ' INNER JOIN "profile" ON ("auth_user"."id" = "profile"."user_id")'
        ' WHERE ("auth_user"."username" = %s AND "profile"."state" IN'
        " ('a', 'b')) ORDER BY \"auth_user\".\"id\" ASC LIMIT 21"),
    "the same for MySQL": (
        "SELECT `user`.`id`, `user`.`username`, `user`.`first_name` FROM"
        " `user` INNER JOIN `profile` ON (`user`.`id` = `profile`.`user_id`)"
        " WHERE (`user`.`username` = %s AND `profile`.`state` = 'a')"),
    "insert": (
        "INSERT INTO orders (customer_id, total, status, created_at, note)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING orders.id"),
    "update": (
        "UPDATE orders SET customer_name = %s, address = %s, city = %s,"
        " status = 'shipped', updated_at = now() WHERE orders.id = %s"),
    "read with comments": (
        "/* app='shop', route='/orders' */ SELECT id, customer_id, total,"
        " status, note FROM orders WHERE status = 'new' -- only these"),
}
ROUNDS = 5


def best(function, times):
    """Return the microseconds of a call in the best of some rounds."""
    return min(repeat(function, number=times, repeat=ROUNDS)) / times * 1e6


def main(times):
    """Print the times."""
    for name, text in NEW.items():
        time = best(lambda text=text: _sql._classify(text), times)
        print(f"{name:20} {len(text):4} characters {time:8.2f} microseconds")
    known = NEW["read"]
    kind_of(known)
    look = "kind_of(known)"
    time = min(repeat(
        look, number=times * 10, repeat=ROUNDS,
        globals={"kind_of": kind_of, "known": known})) / times * 1e5
    print(f"{'known':36} {time:8.3f} microseconds")
    texts = [f"select {number}" for number in range(20 * times)]
    each = min(repeat(
        lambda: list(map(kind_of, texts)), number=1, repeat=1)) / len(texts)
    print(f"{'all different, each':36} {each * 1e6:8.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
