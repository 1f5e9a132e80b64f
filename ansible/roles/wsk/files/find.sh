# Where the program is in the unpacked archive $1: at its top, or in its one folder.
found=$(find "$1" -maxdepth 2 -type f -name wsk | head -n 1)
if [ -z "$found" ]; then
  echo "ERROR: there is no program wsk in wsk_archive" >&2
  exit 1
fi
if [ ! -e "$1/.complete" ]; then
  chmod 755 "$found"
  touch "$1/.complete"
  echo "found anew"
fi
echo "$found"
