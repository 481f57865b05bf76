# Prometheus and promtool, for tests on a computer that has Docker and not these.
#
# Another base is named by DEBIAN_IMAGE: a mirror, or a digest.
ARG DEBIAN_IMAGE=debian:bookworm-slim
FROM ${DEBIAN_IMAGE}
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/*
