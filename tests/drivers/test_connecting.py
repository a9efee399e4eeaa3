"""The settings of a connection reach every driver, on real servers."""

import secrets
import socket
import time
from contextlib import closing, suppress
from threading import Thread

import drivers
import pytest
from servers import HOST

from dbutils.pool_manager import (
    ConnectionConfig,
    DBConnectionPoolManager,
    PoolConfig,
    WrongCredentialsError,
)
from dbutils.steady_db import SteadyDBConnection

pytestmark = pytest.mark.slow

TYPES = {"postgresql": "postgresql", "mariadb": "mysql"}
# whose encryption can be asked for on the server
IS_ENCRYPTED = {
    "postgresql": (
        "select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
    "mariadb": (
        "select variable_value <> '' from information_schema.session_status"
        " where variable_name = 'Ssl_cipher'")}


class Site:
    """A server that can encrypt, a driver for it, and a user."""

    def __init__(self, driver, server):
        self.driver = driver
        self.family = driver.family
        self.server = server
        self.files = server.certificates
        self.password = f"p{secrets.token_hex(8)}'; \\x"
        self.user = f"u{secrets.token_hex(4)}"
        self.set_password(self.password, "create")

    def set_password(self, password, verb="alter"):
        if self.family == "mariadb":
            self.run(f"{verb} user {self.user}@'localhost' identified by %s", (
                password,))
            self.run(f"grant all on test.* to {self.user}@'localhost'", ())
        else:
            text = password.replace("'", "''")
            self.run(f"{verb} role {self.user} login password '{text}'")

    def run(self, sql, *args):
        """Execute something as the administrator."""
        if self.family == "mariadb":
            con = drivers.BY_NAME["pymysql"].load().connect(
                host=HOST, port=self.server.port, user="root")
        else:
            con = drivers.BY_NAME["psycopg2"].load().connect(
                host=HOST, port=self.server.port, user="postgres",
                dbname="postgres")
        with closing(con):
            con.cursor().execute(sql, *args)
            con.commit()

    def config(self, **settings):
        return ConnectionConfig(**{
            "db_type": TYPES[self.family], "driver": self.driver.name,
            "host": HOST, "port": self.server.port, "user": self.user,
            "password": self.password,
            "database": "test" if self.family == "mariadb" else "postgres",
            **settings})

    def kill(self, session):
        """End a session on the server, and wait until it is gone."""
        if self.family == "mariadb":
            self.run(f"kill {session}", ())
        else:
            self.run(f"select pg_terminate_backend({session}, 10000)")

    def is_encrypted(self, con):
        return bool(int(drivers.ask(con, IS_ENCRYPTED[self.family])))


@pytest.fixture(params=drivers.POSTGRESQL + drivers.MARIADB, ids=repr)
def site(request, secure_servers):
    request.param.load()
    return Site(request.param, secure_servers(request.param.family))


@pytest.fixture
def manager():
    with DBConnectionPoolManager.isolated() as manager:
        yield manager


def test_a_connection_is_encrypted_and_the_server_verified(site, manager):
    config = site.config(ssl=True, ssl_ca=site.files.ca_pem)
    with manager.get_connection(config) as con:
        assert site.is_encrypted(con)
    with manager.get_connection(site.config(ssl=True)) as con:
        assert site.is_encrypted(con)


def test_a_server_that_is_not_the_right_one_gets_no_password(site, manager):
    for settings in (
            {"ssl_ca": site.files.stranger_pem},
            {"ssl_ca": site.files.ca_pem, "host": "localhost"}):
        with pytest.raises(Exception, match=r"(?i)certificate") as caught:
            manager.get_connection(site.config(**settings))
        assert site.password not in str(caught.value)


def test_who_we_are_is_proved(site, manager):
    files = site.files
    config = site.config(
        ssl_ca=files.ca_pem, ssl_cert=files.client_pem,
        ssl_key=files.client_key)
    if site.family == "mariadb":
        site.run(f"alter user {site.user}@'localhost' require x509", ())
        with pytest.raises(Exception, match="denied"):
            manager.get_connection(site.config(ssl_ca=files.ca_pem))
    with manager.get_connection(config) as con:
        if site.family == "postgresql":
            assert "client" in drivers.ask(
                con, "select client_dn from pg_stat_ssl"
                " where pid = pg_backend_pid()")


def test_without_encryption_there_is_none(site, manager):
    config = site.config(ssl=False)
    if site.family == "postgresql":  # which does not let us in then
        with pytest.raises(Exception, match="pg_hba"):
            manager.get_connection(config)
    else:
        with manager.get_connection(config) as con:
            assert not site.is_encrypted(con)


@pytest.mark.parametrize(
    "driver", drivers.POSTGRESQL + drivers.MARIADB, ids=repr)
def test_a_server_that_cannot_encrypt_is_not_used(
        driver, servers_running, manager):
    driver.load()
    is_pg = driver.family == "postgresql"
    config = ConnectionConfig(
        TYPES[driver.family], HOST, servers_running(driver.family),
        "postgres" if is_pg else "test", "postgres" if is_pg else "root",
        driver=driver.name, ssl=True)
    with pytest.raises(Exception, match=r"(?i)ssl"):
        manager.get_connection(config)


def test_a_password_reaches_the_server_as_it_is(site, manager):
    for password in ("a b}{%;='\"\\", "pässwörd", "-" * 60):
        site.set_password(password)
        with DBConnectionPoolManager.isolated() as another:
            config = site.config(password=password, ssl=True)
            with another.get_connection(config) as con:
                assert drivers.ask(con, "select 1") == 1


def test_a_wrong_password_never_gets_a_connection(site, manager):
    config = site.config(ssl=True)
    wrong = site.config(ssl=True, password="wrong-one")
    with pytest.raises(site.driver.error) as caught:
        manager.get_connection(wrong)
    assert "wrong-one" not in str(caught.value)
    pool = manager.get_pool_by_name("main", config)  # as it was not proven
    with pool.get_connection():
        for ask in (
                lambda: manager.get_pool(wrong),
                lambda: manager.get_pool_by_name("main", wrong),
                lambda: manager.get_pool_by_name("other", wrong),
                lambda: manager.get_connection(wrong)):
            with pytest.raises(WrongCredentialsError) as caught:
                ask()
            assert "wrong-one" not in str(caught.value)


def test_a_password_can_be_changed_at_work(site, manager):
    config = site.config(ssl=True)
    pool = manager.get_pool(config)
    old = pool.get_connection()
    session = drivers.ask(old, site.driver.who_am_i)
    site.set_password("another one")
    manager.update_credentials(pool.key, "another one")
    assert drivers.ask(old, site.driver.who_am_i) == session
    old.close()
    with pool.get_connection() as con:
        assert drivers.ask(con, site.driver.who_am_i) != session
    with pytest.raises(WrongCredentialsError):
        manager.get_pool(config)
    assert manager.get_pool(site.config(
        ssl=True, password="another one")) is pool


def test_who_tells_the_password_is_asked_again_after_a_refusal(
        site, manager):
    told = [site.password, "old", site.password, "old", "older", site.password]

    def tell():
        return told.pop(0)

    pool = manager.get_pool(site.config(ssl=True, password=tell))
    one, two = pool.get_connection(), pool.get_connection()
    assert len(told) == 3
    with pytest.raises(site.driver.error):
        pool.get_connection()
    assert told == [site.password]
    one.close()
    two.close()


def test_what_was_killed_is_replaced_also_if_it_was_encrypted(site, manager):
    pool = manager.get_pool(site.config(ssl=True))
    for _ in range(3):
        with pool.get_connection() as con:
            session = drivers.ask(con, site.driver.who_am_i)
            con.commit()
        site.kill(session)
        with pool.get_connection() as con:
            assert drivers.ask(con, site.driver.who_am_i) != session


def test_the_settings_reach_the_server(site, manager):
    config = site.config(
        ssl=True, charset="utf8", autocommit=True, connection_timeout=20.5)
    with manager.get_connection(config) as con:
        assert drivers.ask(con, "select 'ä'") == "ä"
        assert drivers.ask(con, "select %s", "ä€") == "ä€"
        if site.family == "mariadb":
            assert drivers.ask(con, "select @@autocommit") == 1
        else:  # every statement has a transaction of its own
            times = {str(drivers.ask(con, "select now()")) for _ in range(9)}
            assert len(times) > 1


def test_the_name_of_the_program_is_told(site, manager):
    config = site.config(ssl=True, application_name="a test's")
    with manager.get_connection(config) as con:
        if site.family == "postgresql":
            assert drivers.ask(
                con, "select current_setting('application_name')",
            ) == "a test's"


def test_the_time_for_an_answer_can_be_limited(site, manager):
    config = site.config(ssl=True, socket_timeout=1)
    if not knows_timeout(site.driver):
        with pytest.raises(
                ValueError, match=f"{site.driver.name} cannot honour 'socket"):
            manager.get_pool(config)
        return
    with manager.get_connection(config) as con:
        sleep = "pg_sleep" if site.family == "postgresql" else "sleep"
        with pytest.raises((site.driver.error, OSError)):
            drivers.ask(con, f"select {sleep}(120)")  # or there is no error


def test_it_is_also_limited_if_a_program_has_replaced_a_method(
        site, manager, monkeypatch):
    if not knows_timeout(site.driver):
        pytest.skip("The driver has no such option.")
    resets, original = [], SteadyDBConnection._reset

    def reset(con, force=False):
        resets.append(force)
        original(con, force)

    monkeypatch.setattr(SteadyDBConnection, "_reset", reset)
    config = site.config(ssl=True, socket_timeout=1)
    with manager.get_connection(config) as con:
        drivers.ask(con, "select 1")
    assert resets == [True]
    with manager.get_connection(config) as con:
        sleep = "pg_sleep" if site.family == "postgresql" else "sleep"
        with pytest.raises((site.driver.error, OSError)):
            drivers.ask(con, f"select {sleep}(20)")  # or there is no error


def knows_timeout(driver):
    if driver.name != "mysql.connector":
        return True
    from mysql.connector.constants import DEFAULT_CONFIGURATION
    return "read_timeout" in DEFAULT_CONFIGURATION


# pg8000 leaves the socket open that it could not use
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_time_for_connecting_can_be_limited(manager):
    ended = {}
    for driver in drivers.POSTGRESQL + drivers.MARIADB:
        driver.load()

    def connect(driver, port):
        config = ConnectionConfig(
            TYPES[driver.family], HOST, port, driver=driver.name,
            user="nobody", password="secret", connection_timeout=2)
        start = time.monotonic()
        with suppress(driver.error, OSError):
            manager.get_pool(config, PoolConfig(max_wait_time=0)).connection()
        ended[driver.name] = time.monotonic() - start

    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen(20)
        threads = [
            Thread(target=connect, args=(driver, silent.getsockname()[1]))
            for driver in drivers.POSTGRESQL + drivers.MARIADB]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)  # without the limit they would not end
    assert set(ended) == set(drivers.BY_NAME)
    assert all(seconds > 1 for seconds in ended.values())
