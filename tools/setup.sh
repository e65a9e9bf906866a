#!/usr/bin/env bash
# Makes this machine ready for `make demo`, `make test` and `make bench`. May run any number of times; says nothing when
# nothing is to do.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- Rust --------------------------------------------------------------------------------------------------------------
toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
have cargo || fail "Rust is missing. Install rustup (https://rustup.rs); it then fetches the pinned toolchain $toolchain by itself."
# In this directory rustup runs the pinned toolchain, or fetches it; a cargo from elsewhere has to be that version already.
version=$(cargo --version) || fail "cargo does not run: the toolchain $toolchain of rust-toolchain.toml could not be had."
[[ $version == "cargo $toolchain"* ]] ||
  fail "the project is pinned to Rust $toolchain (rust-toolchain.toml), but $(command -v cargo) is $version. Install rustup (https://rustup.rs), or that version."

# --- Postgres, a pooler, Redis, a clock that can be off, a browser, promtool ------------------------------------------------------------------------------------------------
postgres_is_here() {
  local dir
  for dir in /usr/lib/postgresql/*/bin; do
    [[ -x $dir/initdb && -x $dir/postgres ]] && return 0
  done
  have initdb && have postgres
}

packages=()
postgres_is_here || packages+=(postgresql)
have redis-server || packages+=(redis-server)
have setpriv || packages+=(util-linux)
have faketime || packages+=(faketime)
[[ -x /usr/sbin/pgbouncer ]] || packages+=(pgbouncer)
have chromedriver || packages+=(chromium chromium-driver)
# promtool, which checks the alerts. prometheus itself is run by `make test-production`.
have promtool || packages+=(prometheus)

if ((${#packages[@]})); then
  have apt-get || fail "missing: ${packages[*]}, and there is no apt-get here. Install them, so that initdb, postgres, redis-server, setpriv, faketime, /usr/sbin/pgbouncer, chromedriver and promtool are found."
  as_root=()
  if ((EUID != 0)); then
    have sudo || fail "missing: ${packages[*]}. Installing them needs root or sudo."
    as_root=(sudo)
  fi
  say "installing ${packages[*]}"

  # The packages start their services and make a cluster; the tests start servers of their own, so neither is wanted.
  # policy-rc.d (101: not allowed) is Debian's way to say so; an existing one is left alone.
  policy=/usr/sbin/policy-rc.d
  cluster=/etc/postgresql-common/createcluster.d/order-worker-setup.conf
  put() { printf '%s\n' "$2" | "${as_root[@]}" tee "$1" >/dev/null; }
  undo() { "${as_root[@]}" rm -f "${made[@]}"; }
  made=()
  trap undo EXIT
  if [[ ! -e $policy ]]; then
    made+=("$policy")
    put "$policy" $'#!/bin/sh\nexit 101'
    "${as_root[@]}" chmod 755 "$policy"
  fi
  if [[ ! -e $cluster ]]; then
    made+=("$cluster")
    "${as_root[@]}" mkdir -p "$(dirname "$cluster")"
    put "$cluster" 'create_main_cluster = false'
  fi

  # --no-upgrade: what is there already stays as it is.
  apt_install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-upgrade "${packages[@]}"; }
  log=$(mktemp)
  # The lists of a fresh machine are empty, those of an old one may name packages that are gone: fetched when installing fails.
  if ! apt_install >"$log" 2>&1; then
    "${as_root[@]}" apt-get update -qq >>"$log" 2>&1 || { cat "$log" >&2; fail "apt-get update failed"; }
    apt_install >>"$log" 2>&1 || { cat "$log" >&2; fail "installing ${packages[*]} failed"; }
  fi
  rm -f "$log"
fi

# --- helm --------------------------------------------------------------------------------------------------------------
go=$(command -v go || true)
[[ -z $go && -x /usr/local/go/bin/go ]] && go=/usr/local/go/bin/go

helm=v3.22.0
# The same places in the same order as the rig (tools/rig/src/helm.rs).
if [[ -z ${HELM:-} && $(target/helm/helm version --template '{{.Version}}' 2>/dev/null) != "$helm" ]]; then
  [[ -n $go ]] || fail "Go is missing; it builds helm $helm, which checks the chart. Install Go (https://go.dev/dl), or set HELM to a helm 3.16 or later."
  say "building helm $helm (a minute or two the first time, then cached in target/helm)"
  GOBIN=$PWD/target/helm CGO_ENABLED=0 "$go" install -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$helm" "helm.sh/helm/v3/cmd/helm@$helm" ||
    fail "helm could not be built with $("$go" version)."
fi

# --- the real sidecar --------------------------------------------------------------------------------------------------
# The same places in the same order as the rig (tools/rig/src/daprd.rs).
if [[ -n ${DAPRD:-} ]]; then
  [[ -x $DAPRD ]] || fail "DAPRD=$DAPRD cannot be run."
  exit 0
fi
if have daprd; then exit 0; fi

version=1.18.0 # of github.com/dapr/dapr in tools/daprd/go.mod; daprd reports it
grep -q "github.com/dapr/dapr v$version\$" tools/daprd/go.mod || fail "tools/daprd/go.mod and this script name different versions of Dapr."
binary=target/daprd/daprd
sources=$(cat tools/daprd/{main.go,go.mod,go.sum} | sha256sum | cut -d' ' -f1)
if [[ -x $binary && $(cat "$binary.sources" 2>/dev/null) == "$sources" ]]; then exit 0; fi

go_version=$(sed -n 's/^go //p' tools/daprd/go.mod)
[[ -n $go ]] ||
  fail "Go is missing; it builds the real Dapr sidecar. Install Go $go_version or later (https://go.dev/dl), or set DAPRD to a daprd of Dapr 1.17 or later."
say "building daprd $version (minutes the first time, then cached in $binary)"
mkdir -p "${binary%/*}"
out=$PWD/$binary
(cd tools/daprd && CGO_ENABLED=0 "$go" build -trimpath -ldflags "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=$version" -o "$out.new" .) ||
  fail "daprd could not be built with $("$go" version). Go $go_version is needed; an older one fetches it unless GOTOOLCHAIN=local forbids that."
mv "$out.new" "$out"
printf '%s\n' "$sources" >"$binary.sources"
