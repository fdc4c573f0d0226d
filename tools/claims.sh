#!/bin/sh
# Runs the claim of every paper, one after the other.
set -eu
bin=$1
slugs=$("$bin/python" -c 'from guerdon.papers import all_papers; print(*(paper.slug for paper in all_papers()))')
for slug in $slugs; do
    "$bin/guerdon" reproduce "$slug"
done
