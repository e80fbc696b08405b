# A Penstock worker, or any other command of `penstock`. docs/deploying.md tells how to run it.

FROM python:3.13-slim-trixie AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY producer producer
COPY stores stores
COPY worker worker
RUN python -m venv /opt/penstock \
    && /opt/penstock/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
       '.[worker,sqlite,postgres,lancedb]'

FROM python:3.13-slim-trixie
COPY --from=build /opt/penstock /opt/penstock
RUN useradd --system --uid 10001 --home-dir /data --create-home penstock
ENV PATH=/opt/penstock/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PENSTOCK_SQL_URL=sqlite:////data/penstock.db \
    PENSTOCK_VECTOR_URL=lancedb:////data/vectors \
    PENSTOCK_LOG_FORMAT=json
USER penstock
WORKDIR /data
VOLUME /data
# Healthy: the queue answers and has heard this worker's heartbeat. Other commands: --no-healthcheck.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
    CMD penstock status --json | python -c "import json, socket, sys; sys.exit(not any(one.startswith(socket.gethostname() + ':') for one in json.load(sys.stdin)['workers']))"
# The worker is process 1 and handles SIGTERM itself: it finishes its batch and hands its partitions over.
STOPSIGNAL SIGTERM
CMD ["penstock", "worker"]
