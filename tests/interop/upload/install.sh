#!/bin/sh
# Installs the pinned clients whose signatures tests/it/upload_signatures.rs compares with this crate's,
# into target/interop. Without them the test checks the recorded signatures alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
there=${1:-$here/../../../target/interop}
mkdir -p "$there/node"
python3 -m venv "$there/venv"
"$there/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
cp "$here/package.json" "$here/package-lock.json" "$there/node/"
npm ci --prefix "$there/node" --ignore-scripts --no-audit --no-fund
# Shares what the workspace has compiled.
cargo build --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$here/../../../target"
