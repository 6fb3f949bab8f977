# The services of penstock, the logs distributor unless told otherwise:
#
#   docker build -t penstock .
#   docker run --init -p 8080:8080 -v penstock:/var/lib/penstock penstock
#   docker run penstock analyzer --host 0.0.0.0
#
# With all that a distributor can use, not only the fast event loop:
#
#   docker build -t penstock --build-arg EXTRAS=speed,nats,redis,snappy,zstd .

FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY tests/data/LICENSE-UNICODE.txt tests/data/
COPY csrc csrc
COPY src src
ARG EXTRAS=speed
RUN python -m venv /opt/penstock \
    && PENSTOCK_REQUIRE_EXTENSIONS=1 /opt/penstock/bin/pip install --no-cache-dir ".[$EXTRAS]"

FROM python:3.11-slim-bookworm
COPY --from=build /opt/penstock /opt/penstock
RUN useradd --system --uid 10001 --home-dir /var/lib/penstock penstock \
    && install -d -o penstock -g penstock /var/lib/penstock
USER penstock
ENV PATH=/opt/penstock/bin:$PATH \
    PENSTOCK_DISTRIBUTOR_HOST=0.0.0.0 \
    PENSTOCK_DISTRIBUTOR_DATA_DIR=/var/lib/penstock
VOLUME /var/lib/penstock
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["penstock"]
CMD ["distribute"]
