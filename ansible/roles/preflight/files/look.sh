# What facts do not say, as one JSON object. Arguments: the ports to look at.
free=$(df -Pm /opt /var 2>/dev/null | awk 'NR > 1 && (m == "" || $4 < m) {m = $4} END {print m + 0}')
taken=
for port in "$@"; do
  held=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u | tr '\n' ' ')
  case "$held" in
    "" | *systemd*) ;;
    # Ours from a time before it had a socket unit.
    *edge-agent*) ;;
    *) taken="$taken, $port by ${held% }" ;;
  esac
done
board=$(tr -d '\0"' < /proc/device-tree/model 2>/dev/null || true)
printf '{"board": "%s", "bits": "%s", "free_mb": %s, "taken": "%s", "epoch": %s, "venv": %s}\n' "$board" \
  "$(getconf LONG_BIT)" "$free" "${taken#, }" "$(date +%s)" \
  "$(python3 -c 'import ensurepip' 2>/dev/null && echo true || echo false)"
