module order-worker/tools/kube/crds

go 1.26.3

// Nothing is built of these: they carry the custom resource definitions that the chart is installed on.
require (
	github.com/argoproj/argo-cd/v3 v3.5.7
	github.com/dapr/dapr v1.18.0
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
