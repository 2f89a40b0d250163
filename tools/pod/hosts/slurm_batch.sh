#!/bin/bash
# What the first node of a Slurm job runs: one process for every GPU of the job.
#
# The lines above are written by tools/pod:
#   CODE      directory of the code and its environment, on the shared file system
#   RESTARTS  how often the job is queued again where its status asks for it
#   COMMAND   what to run after `python -m xinst_jax`
set -uo pipefail
: "${CODE:?}" "${RESTARTS:?}" "${COMMAND:?}"
cd "$CODE" || exit

# Processes end together by themselves: Slurm is not to kill those that still save. Each
# sees all GPUs of its node, and takes the one of its local number.
srun --label --kill-on-bad-exit=0 --wait=180 --gpu-bind=none \
  --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  .venv/bin/python -u -m xinst_jax "${COMMAND[@]}"
status=$?
echo "ended with status $status"
case $status in
  # Preempted or another process lost; aborted by JAX for that; killed; terminated.
  75 | 134 | 137 | 143)
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "$RESTARTS" ]; then
      scontrol requeue "$SLURM_JOB_ID"
    fi
    ;;
esac
exit "$status"
