// Holds an agent to Consul's documented API with Consul's own client: `consul-client ADDR`. It registers a service as a Kratos
// service does, waits for it by blocking queries, lets its checks fail, and takes it away again. The first thing that is not as
// documented ends it with status 1. tools/rig/tests/consul.rs runs it against the stand-in, and against a real agent where there is one.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	name  = "api-check"
	id    = "api-check-1"
	ttl   = "service:" + id
	limit = 15 * time.Second
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: consul-client ADDR")
	}
	config := api.DefaultConfig()
	config.Address = os.Args[1]
	client, err := api.NewClient(config)
	must(err)
	leader, err := client.Status().Leader()
	must(err)
	check(leader != "", "there is no leader")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	addr := listener.Addr().(*net.TCPAddr)
	serve(listener)
	register(client, addr.Port)
	agent := client.Agent()

	// Critical until its first heartbeat.
	entries, meta := query(client, &api.QueryOptions{})
	check(len(entries) == 0, "a service passes before its first heartbeat")
	check(meta.LastIndex > 0, "no X-Consul-Index")
	all, _, err := client.Health().Service(name, "", false, nil)
	must(err)
	check(len(all) == 1 && all[0].Checks.AggregatedStatus() == api.HealthCritical, "it is not listed as critical")

	must(agent.UpdateTTL(ttl, "alive", api.HealthPassing))
	entries = await(client, meta.LastIndex, "its checks to pass", 1)
	service := entries[0].Service
	check(service.ID == id && service.Service == name, "id or name")
	check(len(service.Tags) == 1 && service.Tags[0] == "version=v1.0.0" && service.Meta["version"] == "v1.0.0", "tags or meta")
	check(service.Address == "127.0.0.1" && service.Port == addr.Port, "address")
	check(service.TaggedAddresses["grpc"].Address == fmt.Sprintf("grpc://127.0.0.1:%d", addr.Port), "tagged address")
	check(len(entries[0].Checks) == 3, "its checks and the node's")
	services, err := agent.Services()
	must(err)
	check(services[id] != nil, "the agent does not list it")

	// A query of which nothing changes waits its time, and has the same index.
	must(agent.UpdateTTL(ttl, "alive", api.HealthPassing))
	_, meta = query(client, &api.QueryOptions{})
	began := time.Now()
	entries, same := query(client, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Second})
	took := time.Since(began)
	check(took >= 900*time.Millisecond && took < 3*time.Second, "a query waited "+took.String()+" of 1s")
	check(same.LastIndex == meta.LastIndex && len(entries) == 1, "something changed meanwhile")
	// One with an index of the past does not wait.
	began = time.Now()
	query(client, &api.QueryOptions{WaitIndex: 1, WaitTime: limit})
	check(time.Since(began) < time.Second, "a query with an old index waited")

	// Without heartbeats it expires, and a blocking query is told.
	entries = await(client, same.LastIndex, "its TTL to expire", 0)
	check(status(client, ttl) == api.HealthCritical, "it expired and is not critical")
	must(agent.UpdateTTL(ttl, "alive", api.HealthPassing))
	await(client, 0, "it to pass again", 1)
	// The TCP check is dialled.
	must(listener.Close())
	beat(client, "its port to be missed", 0)

	// Registering again replaces what was there.
	listener, err = net.Listen("tcp", addr.String())
	must(err)
	serve(listener)
	register(client, addr.Port)
	beat(client, "it to pass once more", 1)

	refused(agent.UpdateTTL("service:nobody", "", api.HealthPassing), 404)
	refused(agent.ServiceDeregister("nobody"), 404)
	must(agent.ServiceDeregister(id))
	await(client, 0, "it to be gone", 0)
	all, _, err = client.Health().Service(name, "", false, nil)
	must(err)
	check(len(all) == 0, "it is still listed")
	refused(agent.UpdateTTL(ttl, "", api.HealthPassing), 404)
	fmt.Println("as documented")
}

func register(client *api.Client, port int) {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	must(client.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{
		ID:      id,
		Name:    name,
		Tags:    []string{"version=v1.0.0"},
		Meta:    map[string]string{"version": "v1.0.0"},
		Address: "127.0.0.1",
		Port:    port,
		TaggedAddresses: map[string]api.ServiceAddress{
			"grpc": {Address: "grpc://" + addr, Port: port},
		},
		Checks: api.AgentServiceChecks{
			{TCP: addr, Interval: "1s", Timeout: "1s", DeregisterCriticalServiceAfter: "600s"},
			{CheckID: ttl, TTL: "3s", DeregisterCriticalServiceAfter: "600s"},
		},
	}, api.ServiceRegisterOpts{ReplaceExistingChecks: true}))
}

func query(client *api.Client, options *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta) {
	entries, meta, err := client.Health().Service(name, "", true, options)
	must(err)
	return entries, meta
}

// Follows the service from an index on until so many instances pass.
func await(client *api.Client, index uint64, what string, count int) []*api.ServiceEntry {
	for began := time.Now(); time.Since(began) < limit; {
		entries, meta := query(client, &api.QueryOptions{WaitIndex: index, WaitTime: limit})
		if len(entries) == count {
			return entries
		}
		check(index == 0 || meta.LastIndex != index || time.Since(began) >= limit, "a blocking query came back with nothing new")
		index = meta.LastIndex
	}
	fail("waited for " + what)
	return nil
}

// As await, with heartbeats meanwhile.
func beat(client *api.Client, what string, count int) {
	for began := time.Now(); time.Since(began) < limit; time.Sleep(100 * time.Millisecond) {
		must(client.Agent().UpdateTTL(ttl, "alive", api.HealthPassing))
		if entries, _ := query(client, nil); len(entries) == count {
			return
		}
	}
	fail("waited for " + what)
}

func status(client *api.Client, check string) string {
	entries, _, err := client.Health().Service(name, "", false, nil)
	must(err)
	for _, entry := range entries {
		for _, one := range entry.Checks {
			if one.CheckID == check {
				return one.Status
			}
		}
	}
	return "missing"
}

func serve(listener net.Listener) {
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.Close()
		}
	}()
}

func refused(err error, code int) {
	var status api.StatusError
	ok := errors.As(err, &status) && status.Code == code
	check(ok, strings.TrimSpace(fmt.Sprintf("not refused with %d: %v", code, err)))
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func check(holds bool, what string) {
	if !holds {
		fail(what)
	}
}

func fail(what string) {
	fmt.Fprintln(os.Stderr, "not as documented: "+what)
	os.Exit(1)
}
