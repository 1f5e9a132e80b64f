# A node whose API does not answer: what is the matter? One fact a line, `name value`.
# Arguments: HOME SETTINGS DATA PORTS...
home=$1 settings=$2 data=$3
shift 3
unit=edge-agent.service
echo "epoch $(date +%s)"
echo "installed $([ -e "$home/current" ] && readlink "$home/current" || echo no)"
for name in ActiveState Result NRestarts; do
  echo "$name $(systemctl show --property $name --value $unit 2>/dev/null)"
done
echo "socket $(systemctl is-active edge-agent.socket 2>/dev/null)"
for port in "$@"; do
  held=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u | tr '\n' ' ')
  echo "port $port ${held:-nobody}"
done
for folder in "$data" /var /; do
  if [ -d "$folder" ]; then echo "free_mb $(df -Pm "$folder" | awk 'NR == 2 {print $4}') $folder"; break; fi
done
echo "python $(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none)"
echo "machine $(uname -m) $(getconf LONG_BIT)"
word=$(journalctl --unit=$unit --lines=60 --no-pager --output=cat 2>/dev/null |
  grep -E '^error|Error: |Traceback|[Oo]ut of memory|No space left|oom-kill' | tail -n 1)
echo "word $word"
if [ -x "$home/current/bin/edge-agent" ]; then
  echo "agent $(cd "$data" 2>/dev/null || cd /; "$home/current/bin/edge-agent" doctor --json --settings "$settings" 2>/dev/null | tail -n 1)"
fi
