#!/bin/bash
# What a pod of the JobSet runs: the code and its environment, then the verb.
#
# The lines above are written by tools/pod:
#   ARCHIVE   the code: a tar.gz in the mounted bucket
#   COMMAND   what to run after `python -m xinst_jax`
set -euo pipefail
: "${ARCHIVE:?}" "${COMMAND:?}"

mkdir -p /opt/xinst
tar -xzf "$ARCHIVE" -C /opt/xinst
cd /opt/xinst
pip install --quiet --root-user-action=ignore \
  -r requirements.txt -r requirements-tpu.txt
pip install --quiet --root-user-action=ignore --no-deps -r requirements-encoder.txt
# In place of the shell, so that signals reach it and its status is the container's.
exec python -u -m xinst_jax "${COMMAND[@]}"
