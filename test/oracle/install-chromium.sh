#!/usr/bin/env bash
# Install Chromium, in which the tests run the library for browsers. Needs root and apt (Debian); does nothing if there is one.
set -euo pipefail

for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then exec "$name" --version; fi
done
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
chromium --version
