#!/bin/sh
# worker.sh DIR SECONDS PYTHON HOST PORT: a worker for one master after another.
# Locust's worker ends with its master, and each point of a run has a master of its own.
set -eu
dir=$1 seconds=$2 python=$3 host=$4 port=$5
end=$(($(date +%s) + seconds))
cd "$dir"
while [ "$(date +%s)" -lt "$end" ]; do
  "$python" -m locust -f "$dir/loadtests" --worker --master-host "$host" \
    --master-port "$port" --exit-code-on-error 0 || true
  sleep 0.2
done
