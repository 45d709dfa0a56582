#!/bin/sh
# Installs what tests/browser.rs drives: Chromium and its driver from Debian, and the pinned axe-core into
# target/e2e.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
there=${1:-$here/../../../target/e2e}
if ! command -v chromedriver >/dev/null || ! command -v chromium >/dev/null; then
    packages='chromium chromium-driver fonts-noto-cjk'
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $packages || {
        apt-get update
        apt-get install -y --no-install-recommends $packages
    }
fi
mkdir -p "$there/axe"
cp "$here/package.json" "$here/package-lock.json" "$there/axe/"
npm ci --prefix "$there/axe" --ignore-scripts --no-audit --no-fund
