#!/bin/sh
# Trains the small model with PROF into the first free runs/demo-N, and says where to look.
set -eu
bin=$1
number=1
while [ -e "runs/demo-$number" ]; do number=$((number + 1)); done
run=runs/demo-$number
"$bin/guerdon" train prof --output "$run"
echo
echo "The run is in $run:"
echo "  $run/curves.png      the curves"
echo "  $run/summary.json    the figures before and after"
echo "  $run/rollouts/       every sampled response, with rewards, advantages and why it was dropped"
echo "What another choice would have kept of the same responses:"
echo "  $bin/guerdon replay $run --recipe prof --set select.mode=joint"
