#!/bin/sh
# Installs what tests/browser drives: Chromium with its driver, curl and Chinese letters from
# Debian, and the pinned axe-core into target/e2e.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
there=${1:-$here/../../../target/e2e}
export DEBIAN_FRONTEND=noninteractive
install() {
    apt-get install -y --no-install-recommends chromium chromium-driver curl fonts-noto-cjk \
        </dev/null
}
for program in chromium chromedriver curl; do
    if ! command -v "$program" >/dev/null; then
        install || {
            apt-get update
            install
        }
    fi
done
mkdir -p "$there/axe"
cp "$here/package.json" "$here/package-lock.json" "$there/axe/"
npm ci --prefix "$there/axe" --ignore-scripts --no-audit --no-fund
