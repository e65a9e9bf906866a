#!/bin/sh
# What goes into the image: the worker, its default configuration, and what it is made of, below the directory given. The Dockerfile runs this; so does
# the test of the image, in a clean copy of the sources. No path of the machine is left in the binary, so that two
# builds of the same sources by the same toolchain can be the same bytes: tests/production/image.rs compares them.
set -eu
cd "$(dirname "$0")/../.."
out=${1:?the directory to fill}

cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$PWD/target}
sysroot=$(rustc --print sysroot)
export CARGO_INCREMENTAL=0
# The longest prefix is the last one: the later wins. Generated sources (OUT_DIR) lie below the target directory.
export RUSTFLAGS="--remap-path-prefix=$sysroot=/rust --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/src --remap-path-prefix=$target=/target"
cargo build --locked --release --bin order-worker

mkdir -p "$out/app/bin" "$out/app/configs"
# Line tables would be two thirds of the file; panics name their lines without them.
strip --strip-debug -o "$out/app/bin/worker" "$target/release/order-worker"
chmod 0755 "$out/app/bin/worker"
cp configs/config.yaml "$out/app/configs/config.yaml"
chmod 0644 "$out/app/configs/config.yaml"

# The bill of materials (CycloneDX): each crate that is linked, with its version, checksum and license. Needs cargo-cyclonedx.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --describe binaries
sed "s#path+file://$PWD#path+file:///src#g" order-worker_bin.cdx.json >"$out/app/sbom.cdx.json"
rm order-worker_bin.cdx.json
chmod 0644 "$out/app/sbom.cdx.json"
