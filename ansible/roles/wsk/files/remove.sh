# Only where the CLI is ours. Of the properties file what speaks of this machine goes; what
# else its user wrote stays. Arguments: BIN HOME USER
set -eu
bin=$1 home=$2 user=$3
if ! [ -d "$home" ]; then exit 0; fi
case "$(readlink "$bin" || true)" in "$home"/*) rm -f "$bin" ;; esac
rm -rf "$home"
properties=$(getent passwd "$user" | cut -d: -f6)/.wskprops
if grep -qs '^APIHOST=http://127\.0\.0\.1:' "$properties"; then
  sed -i -e '/^APIHOST=/d' -e '/^AUTH=/d' -e '/^NAMESPACE=/d' "$properties"
  if ! [ -s "$properties" ]; then rm -f "$properties"; fi
fi
echo removed
