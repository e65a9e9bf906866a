// Command daprd is the Dapr runtime with the one component that the tests and the demo need: Redis Streams pub/sub.
//
// Dapr's own cmd/daprd links every component and refuses to start without its build tags; two of those components depend on
// module versions that the Go proxy does not serve. This main passes the same options to the same runtime with a smaller registry.
package main

import (
	"context"
	"fmt"
	"os"

	"go.opencensus.io/stats/view"

	"github.com/dapr/components-contrib/nameresolution/mdns"
	"github.com/dapr/components-contrib/pubsub/redis"
	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/buildinfo"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/signals"
)

var log = logger.NewLogger("dapr.runtime")

func main() {
	o, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("flags: %v", err)
	}
	if o.RuntimeVersion {
		fmt.Println(buildinfo.Version())
		return
	}
	o.Logger.SetAppID(o.AppID)
	if err := logger.ApplyOptionsToLoggers(&o.Logger); err != nil {
		log.Fatal(err)
	}
	pubsub.DefaultRegistry.Logger = log
	pubsub.DefaultRegistry.RegisterComponent(redis.NewRedisStreams, "redis")
	nameresolution.DefaultRegistry.Logger = log
	nameresolution.DefaultRegistry.RegisterComponent(mdns.NewResolver, "mdns")
	if err := run(signals.Context(), o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o *options.Options) error {
	health := healthz.New()
	provider, err := security.New(ctx, security.Options{
		AppID: o.AppID, Mode: modes.DaprMode(o.Mode), Healthz: health, MTLSEnabled: o.EnableMTLS,
		SentryAddress: o.SentryAddress, ControlPlaneTrustDomain: o.ControlPlaneTrustDomain,
		ControlPlaneNamespace: o.ControlPlaneNamespace, TrustAnchors: o.TrustAnchors,
	})
	if err != nil {
		return err
	}
	return concurrency.NewRunnerManager(provider.Run, func(ctx context.Context) error {
		handler, err := provider.Handler(ctx)
		if err != nil {
			return err
		}
		rt, err := runtime.FromConfig(ctx, &runtime.Config{
			AppID: o.AppID, AppProtocol: o.AppProtocol, ApplicationPort: o.AppPort, AppSSL: o.AppSSL, AppChannelAddress: o.AppChannelAddress,
			AppMaxConcurrency: o.AppMaxConcurrency, MaxRequestSize: o.MaxRequestSize, ReadBufferSize: o.ReadBufferSize,
			EnableAppHealthCheck: o.EnableAppHealthCheck, AppHealthCheckPath: o.AppHealthCheckPath,
			AppHealthProbeInterval: o.AppHealthProbeInterval, AppHealthProbeTimeout: o.AppHealthProbeTimeout, AppHealthThreshold: o.AppHealthThreshold,
			Mode: o.Mode, ResourcesPath: o.ResourcesPath, Config: o.Config, AllowedOrigins: o.AllowedOrigins, EnableAPILogging: o.EnableAPILogging,
			DaprHTTPPort: o.DaprHTTPPort, DaprAPIGRPCPort: o.DaprAPIGRPCPort, DaprAPIListenAddresses: o.DaprAPIListenAddresses,
			DaprInternalGRPCPort: o.DaprInternalGRPCPort, DaprInternalGRPCListenAddress: o.DaprInternalGRPCListenAddress,
			DaprPublicPort: o.DaprPublicPort, DaprPublicListenAddress: o.DaprPublicListenAddress, UnixDomainSocket: o.UnixDomainSocket,
			ProfilePort: o.ProfilePort, EnableProfiling: o.EnableProfiling, EnableMTLS: o.EnableMTLS, SentryAddress: o.SentryAddress,
			DaprGracefulShutdownSeconds: o.DaprGracefulShutdownSeconds, DaprBlockShutdownDuration: o.DaprBlockShutdownDuration,
			ActorsService: o.ActorsService, RemindersService: o.RemindersService,
			SchedulerAddress: o.SchedulerAddress, SchedulerStreams: o.SchedulerJobStreams, ControlPlaneAddress: o.ControlPlaneAddress,
			DisableInitEndpoints: o.DisableInitEndpoints, DisableBuiltinK8sSecretStore: o.DisableBuiltinK8sSecretStore,
			Metrics: metrics.Options{
				Enabled: o.Metrics.Enabled(), Log: log, Port: o.Metrics.Port(), ListenAddress: o.Metrics.ListenAddress(),
				Namespace: metrics.DefaultMetricNamespace, Healthz: health, Meter: view.NewMeter(),
			},
			Registry: registry.NewOptions().WithPubSubs(pubsub.DefaultRegistry).WithNameResolutions(nameresolution.DefaultRegistry),
			Security: handler, Healthz: health,
		})
		if err != nil {
			return err
		}
		return rt.Run(ctx)
	}).Run(ctx)
}
