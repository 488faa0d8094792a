"""The lake in SQL for any Hive client: ``python -m batch.thrift`` owns the metastore and runs Spark's Thrift server.

One process: a PySpark driver with Hive's metastore that starts the server inside itself, so that every session of every
client finds our Python functions. It is ``hive`` on HDFS, who may read the tables and change nothing.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from batch.storage import Storage
from batch.tables import FRESH, Keeper
from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER: Final = "hive"
"""Who this process is on HDFS; see contracts.lake.MEMBERS."""
LOOK_S: Final = 3.0
"""How often the folders are looked at for new partitions."""
QUERY_LIMIT_S: Final = 600
"""A query that runs longer is ended."""
JDO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "javax.jdo.PersistenceManagerFactoryClass": "org.datanucleus.api.jdo.JDOPersistenceManagerFactory",
        "datanucleus.schema.autoCreateAll": "true",
        "datanucleus.identifierFactory": "datanucleus1",
        "datanucleus.rdbms.useLegacyNativeValueStrategy": "true",
        "datanucleus.connectionPoolingType": "dbcp-builtin",
    }
)
"""How Hive names its tables (HiveConf's own defaults), for making them."""
UNSAFE: Final = ("reflect", "java_method", "try_reflect")
"""Functions of Spark that call any Java method inside the server; no client gets them."""

log = logging.getLogger("batch.thrift")


def address(settings: Settings) -> tuple[str, int]:
    """Host and port to listen on. Raises Misconfigured."""
    if settings.hive is None:
        raise Misconfigured("WARD_HIVE says where the Thrift server listens, like 127.0.0.1:10000")
    host, colon, port = settings.hive.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise Misconfigured(f"WARD_HIVE is {settings.hive!r}; it is host:port")
    return host, int(port)


def home(settings: Settings) -> Path:
    """The folder of this process's own files. Raises Misconfigured."""
    if settings.state_dir is None:
        raise Misconfigured("WARD_STATE_DIR says where the Thrift server keeps its own files")
    place = Path(settings.state_dir) / "data" / "hive"
    place.mkdir(parents=True, exist_ok=True)
    return place


def options(settings: Settings) -> dict[str, str]:
    """Spark's and Hive's settings of this process, on top of batch.spark's."""
    from batch.spark import options as common

    host, port = address(settings)
    place = home(settings)
    derby = f"-Dderby.stream.error.file={place / 'derby.log'} -Dderby.system.home={place}"
    told = _hive_site(place, metastore(settings, place))
    hive = {
        "datanucleus.schema.autoCreateAll": "true",
        "hive.metastore.schema.verification": "false",
        "hive.server2.thrift.bind.host": host,
        "hive.server2.thrift.port": str(port),
        "hive.server2.authentication": "NONE",
        "hive.server2.enable.doAs": "false",
        "hive.server2.logging.operation.enabled": "false",
        "hive.stats.autogather": "false",  # else every new partition is listed once more, for nothing
        "hive.exec.scratchdir": f"file://{place / 'scratch'}",
        "hive.exec.local.scratchdir": str(place / "local"),
        "hive.downloaded.resources.dir": str(place / "resources"),
    }
    drivers = sorted(str(jar) for jar in Path(settings.cache_dir or "").glob("jars/spark/postgresql-*.jar"))
    return {
        **{f"spark.hadoop.{name}": value for name, value in hive.items()},
        **FRESH,
        "spark.driver.extraClassPath": ":".join((str(told), *drivers)),
        "spark.driver.extraJavaOptions": f"{common(settings)['spark.driver.extraJavaOptions']} {derby}",
        "spark.sql.warehouse.dir": f"file://{place / 'warehouse'}",
        # our functions are imported by Python workers, whose path is not ours
        "spark.executorEnv.PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        # a client that asks for everything gets it piece by piece, not all of it through one heap
        "spark.sql.thriftServer.incrementalCollect": "true",
        "spark.sql.files.maxPartitionBytes": "16m",
        "spark.driver.maxResultSize": "128m",
        "spark.hadoop.ipc.client.connect.max.retries": "3",
        "spark.sql.thriftServer.queryTimeout": str(QUERY_LIMIT_S),
    }


def metastore(settings: Settings, place: Path) -> dict[str, str]:
    """Where Hive's metastore is: an embedded Derby below ``place``, or the database of WARD_METASTORE_URL.

    User and password of ``jdbc:postgresql://host/name?user=…&password=…`` become settings of their own. Raises
    Misconfigured for another kind of database.
    """
    url = settings.metastore_url
    if url is None:
        url = f"jdbc:derby:;databaseName={place / 'metastore'};create=true"
        return {
            "javax.jdo.option.ConnectionURL": url,
            "javax.jdo.option.ConnectionDriverName": "org.apache.derby.jdbc.EmbeddedDriver",
        }
    if not url.startswith("jdbc:postgresql://"):
        raise Misconfigured("WARD_METASTORE_URL is jdbc:postgresql://host:port/name?user=...&password=...")
    bare, _, asked = url.partition("?")
    given = dict(parse_qsl(asked))
    names = {"user": "UserName", "password": "Password"}
    said = {f"javax.jdo.option.Connection{name}": given.pop(key) for key, name in names.items() if key in given}
    return {
        "javax.jdo.option.ConnectionURL": f"{bare}?{urlencode(given)}" if given else bare,
        "javax.jdo.option.ConnectionDriverName": "org.postgresql.Driver",
        **said,
    }


def _hive_site(place: Path, settings: Mapping[str, str]) -> Path:
    """The folder of a hive-site.xml that only its owner can read: settings of Spark stand on a command line."""
    folder = place / "conf"
    folder.mkdir(mode=0o700, exist_ok=True)
    rows = (f"<property><name>{k}</name><value>{escape(v)}</value></property>" for k, v in settings.items())
    draft = folder / ".hive-site.xml"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"<configuration>{''.join(rows)}</configuration>\n")
    draft.replace(folder / "hive-site.xml")
    return folder


class Server:
    """The running process: session, functions, tables, and the Thrift server once these are there."""

    def __init__(self, settings: Settings) -> None:
        from batch import functions
        from batch.spark import session

        self._spark: Any = session("hive", settings, hive=True, more=options(settings), user=USER)
        jvm: Any = self._spark._jvm  # noqa: SLF001 - the Thrift server has no other door from Python
        _quiet(jvm)
        if settings.metastore_url is not None:
            make_schema(jvm, metastore(settings, home(settings)))
        functions.register(self._spark)
        everywhere(self._spark, jvm, functions.NAMES)
        self.keeper = Keeper(self.sql, Storage.of(settings, user=USER))
        self.keeper.make()
        self.keeper.look()
        thrift = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
        self._thrift: Any = thrift.startWithContext(self._spark._jsparkSession.sqlContext())  # noqa: SLF001

    def sql(self, statement: str) -> Sequence[Sequence[Any]]:
        """Run one statement of our own; its rows."""
        rows: list[Any] = self._spark.sql(statement).collect()
        return rows

    def close(self) -> None:
        """Stop taking clients, then stop Spark."""
        self._thrift.stop()
        self._spark.stop()


def make_schema(jvm: Any, settings: Mapping[str, str]) -> None:
    """Make the metastore's tables all at once, where they are not there yet.

    Left to Hive they are made one by one inside its transactions, and on PostgreSQL that waits for itself for ever.
    """
    known = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    mapping = jvm.scala.io.Source.fromInputStream(known.getResourceAsStream("package.jdo"), "UTF-8").mkString()
    names = jvm.java.util.HashSet()
    for name in re.findall(r'<class name="(\w+)"', mapping):
        names.add(f"org.apache.hadoop.hive.metastore.model.{name}")
    properties = jvm.java.util.Properties()
    for key, value in {**settings, **JDO}.items():
        properties.setProperty(key, value)
    factory = jvm.javax.jdo.JDOHelper.getPersistenceManagerFactory(properties, known)
    factory.getNucleusContext().getStoreManager().createSchemaForClasses(names, properties)
    factory.close()


def everywhere(spark: Any, jvm: Any, names: Sequence[str]) -> None:
    """Let every session of every client have these functions, and none of the unsafe ones.

    A session starts with the functions that are built in; what this one registered is put among them.
    """
    known: Any = spark._jsparkSession.sessionState().functionRegistry()  # noqa: SLF001
    built_in = jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry.builtin()
    identifiers = {}
    found = known.listFunction().iterator()
    while found.hasNext():
        one = found.next()
        identifiers[one.funcName()] = one
    place = identifiers["abs"]
    identifier = jvm.org.apache.spark.sql.catalyst.FunctionIdentifier
    for name in names:
        mine = identifiers[name]
        builder, info = known.lookupFunctionBuilder(mine).get(), known.lookupFunction(mine).get()
        built_in.registerFunction(identifier(name, place.database(), place.catalog()), info, builder)
    for name in UNSAFE:
        built_in.dropFunction(identifier(name, place.database(), place.catalog()))


def _quiet(jvm: Any) -> None:
    """What a client does wrong is told to the client: the log is for what is wrong here."""
    level = jvm.org.apache.logging.log4j.Level
    configurator = jvm.org.apache.logging.log4j.core.config.Configurator
    for name in ("org.apache.thrift", "org.apache.spark.sql.hive.thriftserver", "org.apache.hive.service"):
        configurator.setLevel(name, level.OFF)
    for name in ("org.apache.hadoop.hive", "hive", "DataNucleus", "org.apache.spark.sql", "org.apache.spark.scheduler"):
        configurator.setLevel(name, level.ERROR)


def serve(settings: Settings, stop: threading.Event) -> int:
    """Run until ``stop``. 0 when told to, 1 when Spark's own process died."""
    from py4j.protocol import Py4JError, Py4JNetworkError
    from pyspark.errors import PySparkException

    server = Server(settings)
    signals(stop, starting=False)  # Spark's own session took Ctrl-C for itself
    log.warning("the Thrift server listens on %s", settings.hive)
    away = False
    while not stop.wait(LOOK_S):
        try:
            server.keeper.look()
            away = False
        except Transient as gone:
            if not away:
                log.warning("no new partitions for now: %s", gone)
            away = True
        except Py4JNetworkError as died:
            log.error("Spark is gone: %s", died)
            return 1
        except (Py4JError, PySparkException) as refused:
            log.error("a partition could not be registered, the next look tries again: %s", refused)
    server.close()
    return 0


def signals(stop: threading.Event, *, starting: bool) -> None:
    """End on SIGTERM and Ctrl-C: in good order once clients are served, at once before (Spark ends with us)."""

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        if starting:
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def main() -> int:
    """Entry point; exit codes 0 stopped, 1 failed, 2 misconfigured, 4 HDFS away."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    signals(stop, starting=True)
    try:
        return serve(Settings.from_env(os.environ), stop)
    except Misconfigured as wrong:
        print(f"misconfigured: {wrong}", file=sys.stderr)
        return 2
    except Transient as away:
        print(f"cannot start now: {away}", file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main())
