#!/usr/bin/env bash
# Trains the small model with PROF into the first free runs/demo-N.
set -euo pipefail
bin=$1
number=1
while [ -e "runs/demo-$number" ]; do number=$((number + 1)); done
"$bin/guerdon" train prof --output "runs/demo-$number"
echo
echo "look at   runs/demo-$number/curves.png and runs/demo-$number/summary.json"
echo "replay    $bin/guerdon replay runs/demo-$number --recipe prof --set select.mode=joint"
