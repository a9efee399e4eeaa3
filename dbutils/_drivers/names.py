"""The names of the connections and cursors of drivers, for type checkers.

A lease has all that a connection of the driver has, and type checkers cannot
express that.  So they are told the names that the known drivers have.  Any
other name is a mistake, or that of a driver that is not known well: the
type of "dbapi_connection" is the true one.
"""

from __future__ import annotations

from .._base.hints import Any, Callable, Con, Generic, Sequence

__all__ = ["ConnectionNames", "Creator", "CursorNames"]

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import Protocol, TypeVar, Union

    _Con_co = TypeVar("_Con_co", covariant=True)

    class _Connects(Protocol[_Con_co]):
        """A module, or another object that connects."""

        @property
        def connect(self) -> Callable[..., _Con_co]: ...

    # A module of a driver, or a function.  The connections of psycopg2 remain
    # unknown, since its function can return those of another class.
    Creator = Union[_Connects[Con], Callable[..., Con]]
else:
    Creator = Any


class ConnectionNames(Generic[Con]):
    """The names of connections, except those that a lease has itself."""

    # the driver's own connection
    dbapi_connection: Con

    DataError: Any
    DatabaseError: Any
    Error: Any
    IntegrityError: Any
    InterfaceError: Any
    InternalError: Any
    NotSupportedError: Any
    OperationalError: Any
    ProgrammingError: Any
    Warning: Any
    action: Any
    adapters: Any
    add_notice_handler: Any
    add_notify_handler: Any
    add_output_converter: Any
    affected_rows: Any
    append: Any
    arraysize: Any
    as_dict: Any
    async_: Any
    autocommit: Any
    autocommit_state: Any
    backup: Any
    begin_sessionless_transaction: Any
    binary_types: Any
    blobopen: Any
    broken: Any
    bulk_copy: Any
    callTimeout: Any
    call_timeout: Any
    can_consume_results: Any
    cancel: Any
    cancel_safe: Any
    changepassword: Any
    character_set_name: Any
    charset: Any
    charset_id: Any
    clear_app_context: Any
    clear_end_user_security_context: Any
    clear_output_converters: Any
    client_flags: Any
    client_identifier: Any
    clientinfo: Any
    closed: Any
    collation: Any
    config: Any
    connection: Any
    connection_id: Any
    converter_class: Any
    create_aggregate: Any
    create_collation: Any
    create_function: Any
    create_window_function: Any
    createlob: Any
    current_schema: Any
    cursor_factory: Any
    database: Any
    db_domain: Any
    db_name: Any
    db_unique_name: Any
    dbapi: Any
    dbop: Any
    decode_oson: Any
    deferrable: Any
    description: Any
    deserialize: Any
    direct_path_load: Any
    disconnect: Any
    dsn: Any
    econtext_id: Any
    edition: Any
    encode_oson: Any
    encoding: Any
    escape: Any
    escape_string: Any
    execute: Any
    executemany: Any
    executescript: Any
    external_name: Any
    fetchall: Any
    fetchmany: Any
    fetchone: Any
    fileno: Any
    getSodaDatabase: Any
    get_autocommit: Any
    get_backend_pid: Any
    get_dsn_parameters: Any
    get_host_info: Any
    get_native_connection: Any
    get_parameter_status: Any
    get_proto_info: Any
    get_row: Any
    get_rows: Any
    get_self: Any
    get_server_info: Any
    get_server_version: Any
    get_transaction_status: Any
    get_warnings: Any
    getconfig: Any
    getinfo: Any
    getlimit: Any
    gettype: Any
    handle: Any
    have_next_result: Any
    host: Any
    in_transaction: Any
    info: Any
    info_query: Any
    inputtypehandler: Any
    insert_id: Any
    instance_name: Any
    internal_name: Any
    interrupt: Any
    is_connected: Any
    is_healthy: Any
    is_secure: Any
    is_valid: Any
    isexecuting: Any
    isolation_level: Any
    iterdump: Any
    kill: Any
    literal: Any
    lobject: Any
    ltxid: Any
    max_identifier_length: Any
    max_open_cursors: Any
    maxwrite: Any
    module: Any
    msgproperties: Any
    next_result: Any
    notices: Any
    notifies: Any
    open: Any
    operation_callback: Any
    outputtypehandler: Any
    pgconn: Any
    pgconn_ptr: Any
    ping: Any
    pipeline: Any
    poll: Any
    pool_config_version: Any
    port: Any
    prepare: Any
    prepare_threshold: Any
    prepared_max: Any
    protocol: Any
    protocol_version: Any
    proxy_user: Any
    python_charset: Any
    query: Any
    raise_on_warnings: Any
    read_only: Any
    readonly: Any
    reconnect: Any
    register: Any
    remove_notice_handler: Any
    remove_notify_handler: Any
    remove_output_converter: Any
    reset: Any
    reset_session: Any
    resume_sessionless_transaction: Any
    round_trip_callback: Any
    row_factory: Any
    rowcount: Any
    sdu: Any
    searchescape: Any
    select_db: Any
    serial_num: Any
    serialize: Any
    server_host: Any
    server_info: Any
    server_port: Any
    server_status: Any
    server_version: Any
    service_name: Any
    session_id: Any
    set_app_context: Any
    set_attr: Any
    set_authorizer: Any
    set_autocommit: Any
    set_character_set: Any
    set_charset: Any
    set_charset_collation: Any
    set_client_encoding: Any
    set_client_flags: Any
    set_converter_class: Any
    set_deferrable: Any
    set_end_user_security_context: Any
    set_isolation_level: Any
    set_login: Any
    set_opentelemetry_trace_context: Any
    set_progress_handler: Any
    set_read_only: Any
    set_session: Any
    set_trace_callback: Any
    set_unicode: Any
    setconfig: Any
    setdecoding: Any
    setencoding: Any
    setlimit: Any
    show_warnings: Any
    shutdown: Any
    sql: Any
    sql_mode: Any
    start_transaction: Any
    stat: Any
    string_types: Any
    status: Any
    stmtcachesize: Any
    subscribe: Any
    supports_opentelemetry_tracing: Any
    suspend_sessionless_transaction: Any
    table: Any
    tag: Any
    text_factory: Any
    thin: Any
    thread_id: Any
    threadsafety: Any
    time_zone: Any
    timeout: Any
    total_changes: Any
    tpc_begin: Any
    tpc_commit: Any
    tpc_end: Any
    tpc_forget: Any
    tpc_prepare: Any
    tpc_recover: Any
    tpc_rollback: Any
    transaction: Any
    transaction_in_progress: Any
    transaction_priority: Any
    unix_socket: Any
    unread_result: Any
    unregister: Any
    unsubscribe: Any
    use_unicode: Any
    user: Any
    username: Any
    version: Any
    view: Any
    wait: Any
    warning: Any
    write_timeout: Any
    xid: Any


class CursorNames:
    """The names of cursors, except those that our cursors have."""

    adapters: Any
    add_attribute: Any
    arraysize: int
    arrayvar: Any
    arrow: Any
    binary_types: Any
    bindnames: Any
    bindvars: Any
    build_row_factory: Any
    callfunc: Any
    callproc: Any
    cast: Any
    clear_attributes: Any
    closed: Any
    colnames: Any
    coltypes: Any
    column_names: Any
    columns: Any
    commit: Any
    copy: Any
    copy_expert: Any
    copy_from: Any
    copy_to: Any
    description: Sequence[Any] | None
    executescript: Any
    fast_executemany: Any
    fetch_arrow_table: Any
    fetch_df: Any
    fetchall_unbuffered: Any
    fetchsets: Any
    fetchval: Any
    fetchvars: Any
    fetchwarnings: Any
    foreignKeys: Any
    format: Any
    get_attributes: Any
    getarraydmlrowcounts: Any
    getbatcherrors: Any
    getimplicitresults: Any
    handle: Any
    inputtypehandler: Any
    itersize: Any
    lastrowid: Any
    max_stmt_length: Any
    messages: Any
    mogrify: Any
    name: Any
    next: Any
    nextset: Any
    noscan: Any
    outputtypehandler: Any
    parse: Any
    pgresult: Any
    pgresult_ptr: Any
    prefetchrows: Any
    prepare: Any
    primaryKeys: Any
    procedures: Any
    query: Any
    read_next: Any
    read_timeout: Any
    remove_attribute: Any
    reset: Any
    results: Any
    returnvalue: Any
    rollback: Any
    row_factory: Any
    rowcount: int
    rowfactory: Any
    rownumber: Any
    scroll: Any
    scrollable: Any
    set_result: Any
    setoutputsizes: Any
    skip: Any
    statement: Any
    statistics: Any
    statusmessage: Any
    stored_results: Any
    stream: Any
    string_types: Any
    tables: Any
    typecaster: Any
    tzinfo_factory: Any
    var: Any
    warning: Any
    warning_count: Any
    warnings: Any
    with_rows: Any
    withhold: Any
    write_timeout: Any
