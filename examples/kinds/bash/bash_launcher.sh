#!/bin/bash
# Runs actions that are written in Bash: OpenWhisk's ActionLoop protocol.
#
# Arguments: the path of the action's source and the name of its function. The function
# gets the arguments of an activation as JSON, in $1; the last line that it prints is the
# result, what it prints before and to stderr is its log. __OW_... are in its environment.

source "$1" || { echo "$1 cannot be read" >&2; exit 1; }
if ! declare -F "$2" >/dev/null; then
  printf -- '-{"error":"There is no function %s."}\n' "$2" >&3
  exit 1
fi
echo '{"ok":true}' >&3

# A request: {"value":ARGUMENTS,"namespace":"guest","action_name":...}, the rest strings.
tell() {
  local rest=$1
  while [[ $rest =~ ^,?\"([a-z_]+)\":\"([^\"]*)\" ]]; do
    export "__OW_${BASH_REMATCH[1]^^}=${BASH_REMATCH[2]}"
    rest=${rest:${#BASH_REMATCH[0]}}
  done
}

while IFS= read -r request; do
  value=${request#'{"value":'}
  value=${value%',"namespace":'*}
  tell "${request:9 + ${#value}}"
  output=$("$2" "$value" </dev/null 3>&-) || failed=$?
  [[ $output == *$'\n'* ]] && printf '%s\n' "${output%$'\n'*}"
  if [[ -n $failed ]]; then
    printf '{"error":"%s ended with %d."}\n' "$2" "$failed" >&3
  else
    printf '%s\n' "${output##*$'\n'}" >&3
  fi
  failed=
done
