"""Apache Hadoop HDFS: one NameNode and one DataNode on loopback, with WebHDFS."""

from __future__ import annotations

import os
import pwd
import subprocess
from typing import Final
from xml.sax.saxutils import escape

from contracts.errors import Transient
from contracts.lake import MEMBERS
from infra.launch.kafka import LEAN_JVM, LOGGING
from infra.launch.probes import java_bean
from infra.site import Site, write_atomically

FORMAT_S: Final = 120.0
HEAP_MB: Final = 128
NAMENODE: Final = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE: Final = "org.apache.hadoop.hdfs.server.datanode.DataNode"
EMPTY_WEBAPP: Final = '<web-app version="2.4" xmlns="http://java.sun.com/xml/ns/j2ee"></web-app>\n'


def core_site(site: Site) -> dict[str, str]:
    """Settings shared by servers and clients."""
    return {
        "fs.defaultFS": f"hdfs://{site.address('namenode')}",
        "hadoop.tmp.dir": str(site.data("hdfs-tmp")),
        "hadoop.user.group.static.mapping.overrides": groups(),
    }


def groups() -> str:
    """The members of contracts.lake as Hadoop reads them: they need no account on this machine."""
    return "".join(f"{user}={','.join(its)};" for user, its in MEMBERS.items()) + "dr.who=;"


def hdfs_site(site: Site) -> dict[str, str]:
    """Settings of both servers; every address is loopback."""
    return {
        "dfs.replication": "1",
        "dfs.namenode.name.dir": f"file://{site.data('namenode')}",
        "dfs.datanode.data.dir": f"file://{site.data('datanode')}",
        "dfs.namenode.rpc-address": site.address("namenode"),
        "dfs.namenode.rpc-bind-host": "127.0.0.1",
        "dfs.namenode.http-address": site.address("namenode_http"),
        "dfs.datanode.address": site.address("datanode"),
        "dfs.datanode.http.address": site.address("datanode_http"),
        "dfs.datanode.ipc.address": site.address("datanode_ipc"),
        "dfs.datanode.hostname": "127.0.0.1",
        "dfs.client.use.datanode.hostname": "true",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.webhdfs.enabled": "true",
        "dfs.permissions.enabled": "true",
        "dfs.namenode.safemode.extension": "0",
        # a killed DataNode is missed, and found again, within seconds
        "dfs.heartbeat.interval": "1",
        "dfs.namenode.heartbeat.recheck-interval": "5000",
        "ipc.client.connect.max.retries": "3",
        # a file that is closed before its last block was reported is asked after again; the default is after 400 ms
        "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "20",
    }


def superuser() -> str:
    """Whom HDFS obeys in everything: the user that runs the NameNode, by the name that the machine knows."""
    return pwd.getpwuid(os.getuid()).pw_name


def prepare(site: Site) -> None:
    """Write the settings and the empty web folders that the Maven jars lack; format the NameNode the first time."""
    conf = site.config("hdfs")
    for name, settings in (("core-site.xml", core_site(site)), ("hdfs-site.xml", hdfs_site(site))):
        write_atomically(conf / name, _xml(settings))
    for webapp in ("hdfs", "datanode"):
        write_atomically(conf / "webapps" / webapp / "WEB-INF" / "web.xml", EMPTY_WEBAPP)
    for webapp in ("static", "secondary"):
        (conf / "webapps" / webapp).mkdir(parents=True, exist_ok=True)
    if (site.data("namenode") / "current" / "VERSION").exists():
        return
    site.data("namenode").mkdir(parents=True, exist_ok=True)
    tool = [*_java(site), NAMENODE, "-format", "-nonInteractive", "-force"]
    try:
        done = subprocess.run(tool, capture_output=True, text=True, timeout=FORMAT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as slow:
        raise Transient(f"formatting the NameNode's data folder took over {FORMAT_S:g} s: start it again") from slow
    if done.returncode != 0:
        raise Transient(f"cannot format the NameNode's data folder: {(done.stderr or done.stdout).strip()[-600:]}")


def namenode_command(site: Site) -> list[str]:
    """The NameNode's command line."""
    return [*_java(site), NAMENODE]


def datanode_command(site: Site) -> list[str]:
    """The DataNode's command line."""
    return [*_java(site), DATANODE]


def namenode_health(site: Site) -> str | None:
    """None when the NameNode is the active one."""
    bean = java_bean(site.url("namenode_http"), "Hadoop:service=NameNode,name=NameNodeStatus")
    if isinstance(bean, str):
        return bean
    return None if bean.get("State") == "active" else f"the NameNode is {bean.get('State')}, not active"


def datanode_health(site: Site) -> str | None:
    """None when a DataNode serves and the NameNode takes writes."""
    bean = java_bean(site.url("namenode_http"), "Hadoop:service=NameNode,name=FSNamesystemState")
    if isinstance(bean, str):
        return bean
    if bean.get("NumLiveDataNodes") != 1:
        return "no DataNode has reported to the NameNode"
    if bean.get("FSState") != "Operational":
        return "HDFS is in safe mode"
    own = java_bean(site.url("datanode_http"), "Hadoop:service=DataNode,name=JvmMetrics")
    return own if isinstance(own, str) else None


def in_safe_mode(site: Site) -> bool:
    """Whether the NameNode refuses writes."""
    bean = java_bean(site.url("namenode_http"), "Hadoop:service=NameNode,name=FSNamesystemState")
    return not isinstance(bean, str) and bean.get("FSState") != "Operational"


def _java(site: Site) -> list[str]:
    logging = [flag.replace("=warn", "=info") if "defaultLogLevel" in flag else flag for flag in LOGGING]
    class_path = f"{site.config('hdfs')}:{site.jars('hadoop')}"
    return [str(site.java), f"-Xmx{HEAP_MB}m", *LEAN_JVM, *logging, "-cp", class_path]


def _xml(settings: dict[str, str]) -> str:
    rows = "".join(f"  <property><name>{n}</name><value>{escape(v)}</value></property>\n" for n, v in settings.items())
    return f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n'
