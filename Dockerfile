# gmqtt platform: one image for node, bridge, auth service and worker.
#   docker run -p 1883:1883 -p 8000:8000 -v gmqtt:/data gmqtt            a node
#   docker run ... gmqtt bridge | auth | worker | migrate                 the other roles
# /data is the only place that is written to (and /bridge, where nodes and their bridge share it): run it with --read-only and --tmpfs /tmp.
# Settings come as GMQTT_<TABLE>__<KEY>, secrets as GMQTT_..._FILE. Build it with `make image`.
# BASE is any Debian 12 with apt.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates gcc libc6-dev python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv /opt/gmqtt \
    && /opt/gmqtt/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements-build.txt
COPY . .
RUN PATH=/opt/build/bin:$PATH /opt/build/bin/pip wheel . --no-deps --no-build-isolation --wheel-dir /wheel \
    && /opt/gmqtt/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheel/*.whl \
    && find /opt/gmqtt -name tests -type d -prune -exec rm -rf {} + \
    && /opt/gmqtt/bin/pip uninstall --yes --quiet pip setuptools

FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 gmqtt \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin gmqtt \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data /bridge
COPY --from=build /opt/gmqtt /opt/gmqtt
ENV PATH=/opt/gmqtt/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GMQTT_NODE__DATA_DIR=/data \
    GMQTT_LISTENERS__TCP=tcp://0.0.0.0:1883 \
    GMQTT_LISTENERS__HTTP=0.0.0.0:8000 \
    GMQTT_AUTH__CLIENT=django \
    GMQTT_AUTH__ACL=django \
    GMQTT_BROKER__KAFKA__BRIDGE_SOCKET=/bridge/bridge.sock
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 1883 8883 8000 8443
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["gmqtt", "healthcheck"]
ENTRYPOINT ["gmqtt"]
CMD ["run"]
