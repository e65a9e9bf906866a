// Puts into a pod what Dapr's injector puts into it, by the injector's own code and the settings of Dapr's chart: a pod as JSON comes
// in, the pod with its sidecar goes out. With -drop-all-capabilities as if Dapr were installed with
// dapr_sidecar_injector.sidecarDropALLCapabilities=true. With -annotations it prints the annotations that it reads, one a line.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"reflect"

	corev1 "k8s.io/api/core/v1"

	"github.com/dapr/dapr/pkg/injector/patcher"
)

func main() {
	log.SetFlags(0)
	dropAll := flag.Bool("drop-all-capabilities", false, "as sidecarDropALLCapabilities of Dapr's chart")
	annotations := flag.Bool("annotations", false, "print the annotations that it reads")
	flag.Parse()
	if *annotations {
		config := reflect.TypeFor[patcher.SidecarConfig]()
		for i := range config.NumField() {
			if name := config.Field(i).Tag.Get("annotation"); name != "" {
				fmt.Println(name)
			}
		}
		return
	}

	pod := new(corev1.Pod)
	if err := json.NewDecoder(os.Stdin).Decode(pod); err != nil {
		log.Fatalf("no pod on standard input: %v", err)
	}
	sidecar := patcher.NewSidecarConfig(pod)
	sidecar.Mode = "kubernetes"
	sidecar.Namespace = pod.Namespace
	sidecar.MTLSEnabled = true
	sidecar.Identity = pod.Namespace + ":" + pod.Spec.ServiceAccountName
	sidecar.ImagePullPolicy = corev1.PullIfNotPresent
	sidecar.SidecarImage = "docker.io/daprio/daprd:1.18.0"
	sidecar.ControlPlaneNamespace = "dapr-system"
	sidecar.ControlPlaneTrustDomain = "cluster.local"
	sidecar.KubeClusterDomain = "cluster.local"
	sidecar.OperatorAddress = patcher.ServiceAPI.Address("dapr-system", "cluster.local")
	sidecar.SentryAddress = patcher.ServiceSentry.Address("dapr-system", "cluster.local")
	sidecar.SchedulerEnabled = true
	sidecar.RunAsNonRoot = true
	sidecar.ReadOnlyRootFilesystem = true
	sidecar.SidecarDropALLCapabilities = *dropAll
	sidecar.SetFromPodAnnotations()

	patch, err := sidecar.GetPatch()
	if err != nil {
		log.Fatalf("the injector refuses the pod: %v", err)
	}
	before, err := json.Marshal(pod)
	if err != nil {
		log.Fatal(err)
	}
	after, err := patch.Apply(before)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(after)
}
