#!/bin/sh
# Installs the pinned SDKs that tests/sdks.rs runs, into target/e2e.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
there=${1:-$here/../../../target/e2e}
mkdir -p "$there/node"
python3 -m venv "$there/venv"
"$there/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
cp "$here/package.json" "$here/package-lock.json" "$there/node/"
npm ci --prefix "$there/node" --ignore-scripts --no-audit --no-fund
# Shares what the workspace has compiled.
cargo build --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$here/../../../target"
