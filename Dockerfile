# The image of order-worker: the binary, its default configuration and its bill of materials, no shell, not root.
#   docker build -t order-worker:v1.0.0 --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
# It starts as /app/bin/worker -conf /app/configs/config.yaml -mode all; a subcommand in its place runs that: migrate, doctor.

# As in rust-toolchain.toml.
ARG RUST_VERSION=1.95.0
# glibc of the same Debian as the builder's, libgcc, CA certificates, the user 65532; no shell and no package manager.
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
# It lists what the binary is made of, as /app/sbom.cdx.json.
RUN cargo install --locked cargo-cyclonedx@0.5.9
COPY . .
# The time of all files of the image, for builders that keep to it.
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    tools/image/build.sh /image

# The tag stands in RUNTIME.
# hadolint ignore=DL3006
FROM ${RUNTIME}
LABEL org.opencontainers.image.title="order-worker" \
      org.opencontainers.image.description="Durable outbox/inbox transactional worker of the order service" \
      org.opencontainers.image.version="v1.0.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
USER 65532:65532
# Events from the sidecar; health and metrics.
EXPOSE 5005 8081
ENTRYPOINT ["/app/bin/worker"]
CMD ["-conf", "/app/configs/config.yaml", "-mode", "all"]
