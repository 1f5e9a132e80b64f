# What is there already, one fact a line. Arguments: PORT IMAGE USER PACKAGES...
port=$1 image=$2 user=$3
shift 3
held=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u | tr '\n' ' ')
if [ -n "$held" ] && ! systemctl --quiet is-active openwhisk-lean.service; then echo "taken ${held% }"; fi
if id "$user" >/dev/null 2>&1; then echo user; fi
if getent group docker >/dev/null; then echo "group docker"; fi
if [ -n "$image" ] && docker image inspect "$image" >/dev/null 2>&1; then echo image; fi
# Not package_facts: it needs python3-apt, which a minimal machine lacks.
if [ "$#" -gt 0 ]; then
  dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true
fi
