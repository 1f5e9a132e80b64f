# Arguments: UNIT DOCKER USER FOLDERS...
set -eu
unit=$1 docker=$2 user=$3
shift 3
if [ -e "$unit" ] || [ -d "$1" ] || id "$user" >/dev/null 2>&1; then
  systemctl disable --quiet --now "$(basename "$unit")" 2>/dev/null || true
  # The containers of actions outlive a JVM that was killed.
  if [ -x "$docker" ]; then
    left=$("$docker" ps --all --quiet --filter name=^wsk0_ 2>/dev/null || true)
    if [ -n "$left" ]; then "$docker" rm --force $left >/dev/null; fi
  fi
  rm -f "$unit"
  systemctl daemon-reload
  systemctl reset-failed "$(basename "$unit")" 2>/dev/null || true
  rm -rf "$@"
  userdel "$user" 2>/dev/null || true
  echo removed
fi
