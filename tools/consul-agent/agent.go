//go:build agent

// Package agent names what `make test-consul` builds: a real Consul agent, for tests alone. 1.21 is the newest whose modules are all
// in the checksum database.
package agent

import _ "github.com/hashicorp/consul"
