# The project's commands; `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-consul test-production check bench bench-compare bench-purge bench-replay pictures snapshots

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (Postgres, Redis) and build the real sidecar
	@tools/setup.sh

demo: setup ## 2,000 payments through real Dapr, Redis and Postgres, a worker killed meanwhile, and orders through their whole life (ORDERS, SEED, KILLS, KEEP=1)
	@cargo build --locked --release --bin order-worker --example demo --example order-service
	@cargo run --locked --quiet --release --example demo

test: setup ## every test, against real Postgres, Redis and daprd
	cargo test --locked --workspace --features failpoints

test-consul: ## discovery against a real Consul agent, which is built the first time (minutes)
	cd tools/consul-agent && PATH="$$PATH:/usr/local/go/bin" CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" \
	  -o ../../target/consul/consul github.com/hashicorp/consul
	CONSUL=$(CURDIR)/target/consul/consul cargo test --locked --workspace --features failpoints --test consul --test it \
	  -- --ignored real_agent

test-production: setup ## what production is made of, on real servers: the chart on a Kubernetes API server, the dashboard on Prometheus, the image, older Dapr and newer Postgres (builds them first: minutes, then cached)
	@tools/kube/setup.sh
	@tools/production/setup.sh
	cargo test --locked --features failpoints,production --test production

check: ## formatting and lints, in seconds after an edit
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets --features failpoints,production -- -D warnings

bench: setup ## events per second and latency, against a stand-in sidecar and through real daprd
	cargo bench --locked

bench-compare: setup ## the same beside the worker of another commit, in the same run (BASE=<rev>; ROUNDS, EVENTS)
	@tools/bench-base.sh "$(BASE)"
	BASE_WORKER=$(CURDIR)/target/bench-base/target/release/order-worker cargo bench --locked

bench-purge: setup ## what a purge of a million sessions and carts costs the payments beside it (ROUNDS)
	cargo bench --locked --bench main_path -- purge

bench-replay: setup ## how fast a replay's rehearsal and the proof go through the inbox, and their memory
	cargo bench --locked --bench main_path -- replay

pictures: setup ## docs/pictures anew, from the console's pages in a real browser
	PICTURES=docs/pictures cargo test --locked --features failpoints --test it -- browser::every_page

snapshots: setup ## what the chart renders for each of its ci values, anew, and the configuration it carries; `git diff` shows what changes in a cluster
	UPDATE_SNAPSHOTS=1 cargo test --locked --features failpoints --test it -- chart::what_is_rendered chart::the_chart_carries
