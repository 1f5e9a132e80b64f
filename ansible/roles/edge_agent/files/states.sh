# The node's states: what runs, what last passed the health gate (HOME/good), and what
# did before that (HOME/previous). A state is the release's name, the configuration and
# the units; releases themselves are never changed, so their names are enough.
#
#   look HOME CONFIG                say which state runs, and whether it is the good one
#   keep HOME CONFIG                what runs is good
#   restore HOME CONFIG good|previous
#   remove HOME CONFIG DATA USER    the whole agent; without DATA the node's data stays
set -eu
verb=$1 home=$2 config=$3
units=/etc/systemd/system
announced=/etc/avahi/services/edgewhisk.service

is_same() { # STATE: does it equal what is there?
  [ -d "$home/$1" ] && [ "$(cat "$home/$1/release")" = "$(readlink "$home/current")" ] &&
    diff -rq "$home/$1/config" "$config" >/dev/null &&
    diff -q "$home/$1/edge-agent.service" $units/edge-agent.service >/dev/null &&
    diff -q "$home/$1/edge-agent.socket" $units/edge-agent.socket >/dev/null
}

look() {
  if [ -d "$home/good" ]; then echo "good:$(cat "$home/good/release")"; fi
  echo "socket:$(systemctl is-active edge-agent.socket || true)"
  # A unit that is not active has to be started whatever its files are.
  if is_same good && systemctl --quiet is-active edge-agent.service; then echo same; fi
  echo "release $(readlink "$home/current" || true)"
  for file in "$config"/* $units/edge-agent.service $units/edge-agent.socket; do
    if [ -f "$file" ]; then echo "$(sha256sum < "$file" | cut -c1-64) $(stat -c '0%a %n' "$file")"; fi
  done
  # Where avahi is: what it announces of the node, if anything.
  if [ -d "${announced%/*}" ]; then echo "announced $(sha256sum < "$announced" 2>/dev/null | cut -c1-64)"; fi
}

keep() {
  if [ -d "$home/previous" ]; then echo "needs $home/$(cat "$home/previous/release")"; fi
  if is_same good; then return; fi
  if [ -d "$home/good" ]; then echo "needs $home/$(cat "$home/good/release")"; fi
  rm -rf "$home/good.new"
  mkdir -m 700 "$home/good.new"
  cp -a "$config" "$home/good.new/config"
  cp -a $units/edge-agent.service $units/edge-agent.socket "$home/good.new/"
  readlink "$home/current" > "$home/good.new/release"
  if [ -d "$home/good" ] && [ "$(cat "$home/good/release")" != "$(cat "$home/good.new/release")" ]; then
    rm -rf "$home/previous"
    mv "$home/good" "$home/previous"
  fi
  rm -rf "$home/good"
  mv "$home/good.new" "$home/good"
  echo kept
}

restore() {
  state=$home/$1
  if ! [ -d "$state" ]; then
    echo "there is no $1 release on this node" >&2
    [ "$1" = good ] && return || exit 1
  fi
  if [ "$1" = good ]; then
    cp -a "$state/config/." "$config/"
  else
    # Keys and certificates are those of today, whatever the release is.
    cp -a "$state/config/edge-agent.toml" "$config/"
  fi
  cp -a "$state/edge-agent.service" "$state/edge-agent.socket" $units/
  ln -sfn "$(cat "$state/release")" "$home/current.new"
  mv -T "$home/current.new" "$home/current"
  systemctl daemon-reload
  systemctl start edge-agent.socket
  systemctl restart edge-agent.service
  release=$(basename "$(cat "$state/release")")
  if [ -f "$announced" ]; then sed -i "s/>version=[^<]*</>version=$release</" "$announced"; fi
  echo "restored $release"
}

remove() { # DATA USER
  if [ -e $units/edge-agent.service ] || [ -d "$home" ] || { [ -n "$1" ] && [ -d "$1" ]; }; then
    systemctl disable --quiet --now edge-agent.socket edge-agent.service 2>/dev/null || true
    rm -f $units/edge-agent.service $units/edge-agent.socket
    systemctl daemon-reload
    systemctl reset-failed edge-agent.service 2>/dev/null || true
    rm -rf "$home" "$config" "$announced"
    if [ -n "$1" ]; then
      rm -rf "$1"
      userdel "$2" 2>/dev/null || true
    fi
    echo removed
  fi
}

shift 3
$verb "$@"
