#!/bin/sh
# verl with guerdon on a Ray cluster. guerdon[verl] and an inference engine (vLLM) must be installed on every node, and
# DATA and MODEL must be readable from every node.
#
#   on the first node:        HEAD=10.0.0.1 sh run_cluster.sh head
#   on each other node:       HEAD=10.0.0.1 sh run_cluster.sh worker
#   then on the first node:   HEAD=10.0.0.1 NODES=4 GPUS=8 sh run_cluster.sh train [verl settings ...]
#   at the end, on each:      sh run_cluster.sh stop
#
# One machine needs `train` alone, without HEAD. Settings go to verl as they are, for example
#   sh run_cluster.sh train algorithm.adv_estimator=guerdon_leave_one_out algorithm.guerdon=null
set -eu

here=$(cd "$(dirname "$0")" && pwd)
port=${PORT:-6379}
python=${PYTHON:-python3}

case "${1:-}" in
head)
    exec ray start --head --node-ip-address "${HEAD:?the address of the first node}" --port "$port"
    ;;
worker)
    exec ray start --address "${HEAD:?the address of the first node}:$port"
    ;;
train)
    shift
    if [ -n "${HEAD:-}" ]; then
        RAY_ADDRESS="$HEAD:$port"
        export RAY_ADDRESS
    fi
    VERL_USE_EXTERNAL_MODULES=guerdon.adapters.verl.plugin
    export VERL_USE_EXTERNAL_MODULES
    exec "$python" -m verl.trainer.main_ppo --config-path "$here" --config-name "${CONFIG:-guerdon_math}" "$@"
    ;;
stop)
    exec ray stop
    ;;
*)
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
