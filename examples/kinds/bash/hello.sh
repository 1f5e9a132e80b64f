# A Bash action: reads a field of its arguments without any other program.
main() {
  local name=world
  [[ $1 =~ \"name\":\ *\"([^\"]*)\" ]] && name=${BASH_REMATCH[1]}
  echo "greeting $name"
  printf '{"greeting":"Hello, %s!"}\n' "$name"
}
