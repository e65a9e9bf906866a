#!/usr/bin/env bash
# The worker of another commit, built for `make bench-compare BASE=<rev>` in a work tree of its own under target/.
set -euo pipefail
cd "$(dirname "$0")/.."

rev=${1:-}
if ! commit=$(git rev-parse --verify --quiet "$rev^{commit}"); then
  echo "bench-compare: name a commit that is here: make bench-compare BASE=<rev>; '$rev' is none" >&2
  exit 2
fi
base=target/bench-base/tree
if [ -e "$base" ]; then
  git -C "$base" checkout --quiet --detach "$commit"
else
  git worktree prune
  git worktree add --quiet --detach "$base" "$commit"
fi
CARGO_TARGET_DIR="$PWD/target/bench-base/target" cargo build --locked --release --bin order-worker --manifest-path "$base/Cargo.toml"
