"""Apache Kafka in KRaft mode, one broker, small. `python -m tools.kafka [port]` runs it until Ctrl-C."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from apps.common.secretfile import secret_file
from tools.servers import Server, free_port, program, write_private

POM = Path(__file__).with_name("kafka.pom.xml")
BUILD = POM.parent.parent / "build"

# A broker for a laptop: little memory, a fast start, no waiting for group members that do not exist.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={protocol}://127.0.0.1:{port}
inter.broker.listener.name={protocol}
listener.security.protocol.map={protocol}:{protocol},CONTROLLER:{protocol}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={directory}/data
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=1500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
num.network.threads=1
num.io.threads=2
background.threads=1
num.recovery.threads.per.data.dir=1
"""
# Both listeners ask for a name and a password: the controller's can do all that a broker can.
GUARD = """\
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={login} user_gmqtt="{password}";
listener.name.controller.plain.sasl.jaas.config={login} user_gmqtt="{password}";
"""
CLIENT = """\
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config={login};
"""
LOGIN = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="gmqtt" password="{password}"'
)
LOGGING = """\
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss,SSS} %p %c{1} %m%n
"""
CLUSTER = "Z210dHQta2Fma2EtZGV2MA"
JVM = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # starts faster, and leaves the cores to what is tested
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)


def bootstrap_servers() -> str:
    """Kafka that is there already, "" where there is none."""
    return os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")


def classpath() -> str:
    """Kafka's jars. Maven finds them the first time; then the answer is remembered while they are there."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    remembered = BUILD / f"kafka-{digest}.classpath"
    if remembered.exists():
        found = remembered.read_text()
        if all(Path(jar).exists() for jar in found.split(":")):
            return found
    maven = program("mvn", "maven")
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        draft = Path(scratch) / "classpath"
        command = [
            maven,
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:build-classpath",
            f"-Dmdep.outputFile={draft}",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not draft.exists():
            raise RuntimeError(f"Maven does not find Kafka:\n{(done.stdout + done.stderr)[-3000:]}")
        draft.rename(remembered)
    return remembered.read_text()


class Kafka(Server):
    """Listens on 127.0.0.1. Its data survives a SIGKILL of the process."""

    def __init__(
        self, directory: Path, port: int = 0, jvm: tuple[str, ...] = JVM, guarded: bool = False
    ) -> None:
        """`guarded`: who connects needs a password (SASL/PLAIN), which is kept in `directory`."""
        super().__init__(directory, port)
        self._java = [program("java", "default-jre-headless"), *jvm, "-cp", classpath()]
        self._java += [f"-Dlog4j2.configurationFile={directory / 'log4j2.properties'}"]
        (directory / "log4j2.properties").write_text(LOGGING)
        properties = directory / "server.properties"
        self.options: dict[str, str] = {}  # of librdkafka
        protocol, guard = "PLAINTEXT", ""
        if guarded:
            protocol = "SASL_PLAINTEXT"
            password = secret_file(directory / "password")
            login = LOGIN.format(password=password)
            guard = GUARD.format(login=login, password=password)
            write_private(directory / "client.properties", CLIENT.format(login=login))
            self.options = {
                "security.protocol": protocol,
                "sasl.mechanism": "PLAIN",
                "sasl.username": "gmqtt",
                "sasl.password": password,
            }
        places = {"port": self.port, "controller": free_port(), "directory": directory}
        write_private(properties, PROPERTIES.format(protocol=protocol, **places) + guard)
        if not (directory / "data" / "meta.properties").exists():
            self._tool("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", properties)
        self.command = [*self._java, "kafka.Kafka", str(properties)]

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Does it answer an ApiVersions request? The port is open before that."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as client:
                client.settimeout(5)
                client.sendall(b"\0\0\0\x0e\0\x12\0\0\0\0\0\x01\0\x04tool")
                return len(client.recv(4)) == 4
        except OSError:
            return False

    def _tool(self, *arguments: object) -> None:
        done = subprocess.run([*self._java, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{arguments[0]}: {(done.stdout + done.stderr)[-2000:]}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gmqtt-kafka-") as directory:
        kafka = Kafka(Path(directory), int(sys.argv[1]) if len(sys.argv) > 1 else 0)
        kafka.start()
        print(f"Kafka {kafka.servers}, process {kafka.pid}, log {kafka.log}", flush=True)
        try:
            assert kafka.process is not None
            kafka.process.wait()
        except KeyboardInterrupt:
            kafka.stop()
