# What is there already, one fact a line, so that a node that has it all costs one task.
# Arguments: HOME RELEASE USER FOLDERS... -- PACKAGES...
home=$1 release=$2 user=$3
shift 3
if [ -e "$home/releases/$release/.complete" ]; then echo complete; fi
if id "$user" >/dev/null 2>&1; then echo "user $user"; fi
while [ "$1" != -- ]; do
  stat -c 'folder %n 0%a %U %G' "$1" 2>/dev/null || true
  shift
done
shift
# Not package_facts: it needs python3-apt, which a minimal machine lacks.
dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true
