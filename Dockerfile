# position-manager as an image: built in one stage, run in another that has the libraries it needs and nothing to build with.
#
#   docker build --build-arg REVISION="$(git rev-parse --short=12 HEAD)" -t position-manager .
#   docker build --target demo -t position-manager-demo .          what publishes the demo's stream (deploy/docker-compose.yml)
#
# Any Debian 12 will do as BASE; the service is never root, writes nowhere, and takes its settings from the environment.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config libpq-dev librabbitmq-dev libjson-c-dev \
        libh2o-evloop-dev libck-dev libcurl4-openssl-dev libssl-dev libxxhash-dev libsystemd-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG VERSION=0.1.0
ARG REVISION=unknown
# The label of the image must not say another version than the program.
RUN cmake --preset release -DPM_TESTS=OFF -DPM_REVISION="${REVISION}" \
    && cmake --build --preset release --target position-manager \
    && strip build-release/position-manager \
    && test "$(build-release/position-manager --version)" = "position-manager ${VERSION} (${REVISION})"

# Publishes a lively stream to a broker; for the demo profile only.
FROM ${BASE} AS demo
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pika \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/lib/publish.py /usr/local/lib/position-manager/publish.py
USER 10001:10001
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/bin/python3", "-u", "/usr/local/lib/position-manager/publish.py"]
CMD ["demo"]

# The last stage is what is built when nothing else is asked for.
FROM ${BASE} AS service
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libpq5 librabbitmq4 libjson-c5 libh2o-evloop0.13 libck0 libcurl4 libssl3 \
        libxxhash0 libsystemd0 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=build /source/LICENSE /usr/share/doc/position-manager/copyright
COPY --from=build /source/build-release/position-manager /usr/bin/position-manager
# A program that lacks a library ends the build here, not the start.
RUN ["/usr/bin/position-manager", "--version"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="position-manager" \
      org.opencontainers.image.description="Keeps every position of a trading system, exactly once" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 4800
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/bin/position-manager", "--check-health"]
ENTRYPOINT ["/usr/bin/position-manager"]
