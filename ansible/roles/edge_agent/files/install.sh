# Install Debian's packages. Arguments: bundle|network PACKAGES...
# apt-get by itself: Ansible's module wants python3-apt, which a minimal machine lacks.
set -eu
from=$1 folder=/var/cache/edgewhisk-packages
shift
export DEBIAN_FRONTEND=noninteractive
options="-q -o DPkg::Lock::Timeout=120"
if [ "$from" = bundle ]; then
  # A source of its own in place of the machine's, which are not asked: it has no network.
  mkdir -p $folder/lists/partial
  echo "deb [trusted=yes] file:$folder ./" > $folder/bundle.list
  options="$options -o Dir::Etc::SourceList=$folder/bundle.list -o Dir::Etc::SourceParts=-"
  options="$options -o Dir::State::Lists=$folder/lists -o APT::Sandbox::User=root"
fi
apt-get $options update
apt-get $options install -y --no-install-recommends "$@"
rm -rf $folder
