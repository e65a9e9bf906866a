#!/usr/bin/env bash
# Builds a Kubernetes control plane for `make test-production` from the Go module proxy: etcd, the API server, the controller
# manager, the scheduler, kubectl, and kwok, which plays the kubelet; and Dapr's injector as a program (tools/daprd/injector). Puts the
# custom resource definitions of Dapr, KEDA, the Prometheus operator and Argo CD, and kwok's stages, beside them. About six minutes and 3 GB of memory the first time, then cached in target/kube.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

out=$(cd ../.. && pwd)/target/kube
sources=$(cat setup.sh go.{mod,sum} crds/go.{mod,sum} ../daprd/{injector/main.go,go.mod,go.sum} | sha256sum | cut -d' ' -f1)
if [[ $(cat "$out/.sources" 2>/dev/null) == "$sources" ]]; then exit 0; fi

go=$(command -v go || true)
[[ -z $go && -x /usr/local/go/bin/go ]] && go=/usr/local/go/bin/go
[[ -n $go ]] || fail "Go is missing; it builds the Kubernetes API server. Install Go $(sed -n 's/^go //p' go.mod) or later (https://go.dev/dl)."

version=$(sed -n 's/^require k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' go.mod)
minor=${version#v1.}
say "building Kubernetes $version (minutes the first time, then cached in target/kube)"
mkdir -p "$out"
# kubectl refuses a server that does not know its own version.
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%.*}"
CGO_ENABLED=0 "$go" build -mod=readonly -p 2 -trimpath -ldflags "-s -w $stamp" -o "$out/" tool ||
  fail "Kubernetes could not be built with $("$go" version)."
(cd ../daprd && CGO_ENABLED=0 "$go" build -mod=readonly -trimpath -ldflags "-s -w" -o "$out/" ./injector) ||
  fail "Dapr's injector could not be built with $("$go" version)."

# `server` is etcd. The definitions come from the modules that declare the types: those of what the chart and its examples make.
folder() { (cd "$1" && "$go" mod download -json "$2") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
rm -rf "$out/crds" "$out/stages"
mkdir -p "$out/crds" "$out/stages"
install -m 644 "$(folder crds github.com/dapr/dapr)"/charts/dapr/crds/{components,configuration,resiliency,subscription}.yaml "$out/crds/"
install -m 644 "$(folder crds github.com/kedacore/keda/v2)"/config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml "$out/crds/"
install -m 644 "$(folder crds github.com/prometheus-operator/prometheus-operator)"/example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml "$out/crds/"
install -m 644 "$(folder crds github.com/argoproj/argo-cd/v3)"/manifests/crds/application-crd.yaml "$out/crds/"
stages=$(folder . sigs.k8s.io/kwok)/kustomize/stage
install -m 644 "$stages"/{node/fast/node-*,node/heartbeat-with-lease/node-*,pod/fast/pod-*}.yaml "$out/stages/"
printf '%s\n' "$sources" >"$out/.sources"
