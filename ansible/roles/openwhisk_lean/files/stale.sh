# Says "stale" where the service does not run, or runs what was there before a file changed.
# Arguments: FILES...
began=$(systemctl show --property ExecMainStartTimestamp --value openwhisk-lean.service)
if ! systemctl --quiet is-active openwhisk-lean.service; then
  echo stale
elif [ -n "$(find "$@" -newermt "$began" 2>/dev/null)" ]; then
  echo stale
fi
