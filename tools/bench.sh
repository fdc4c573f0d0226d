#!/bin/sh
# Measures, and keeps the figures of docs/benchmarks as they were until a suite is through.
set -eu
bin=$1
mkdir -p docs/benchmarks
for suite in ops stages trainer verify sandbox; do
    "$bin/guerdon" bench "$suite" --json >"docs/benchmarks/.$suite.json"
    mv "docs/benchmarks/.$suite.json" "docs/benchmarks/$suite.json"
done
