# Sourced by the scripts beside it: the cache that outlives build trees, and how things get into it.
#
# The cache holds one directory per thing, named by version, and `bin/`, which links the binaries that the tests run.
# A directory appears in one rename, when it is complete; so a script that finds it has nothing to do.

cache=${NAVE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nave-tests}
mkdir -p "$cache/bin"

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# lock NAME: waits for, then holds until this script ends, the lock of that name. Two checkouts may share one cache.
lock() {
  exec {lock_fd}>"$cache/.lock-$1"
  flock "$lock_fd"
}

# scratch: makes $scratch, an empty directory on the file system of the cache, removed when this script ends.
scratch() {
  scratch=$(mktemp -d "$cache/.building-XXXXXXXX")
  trap 'rm -rf "$scratch"' EXIT
}

# publish DIRECTORY NAME: moves a complete directory to its place in the cache.
publish() {
  rm -rf "${cache:?}/$2"
  mv "$1" "$cache/$2"
}

# of_machine COMMAND: the path of a command that the machine has of its own. The cache's `bin/` may stand in the search
# path too, and a link of the cache to itself would lead nowhere.
of_machine() {
  local directory
  while read -r -d : directory; do
    [ "$directory" != "$cache/bin" ] && [ -x "$directory/$1" ] && echo "$directory/$1" && return
  done <<<"$PATH:"
  return 1
}

# link FILE...: makes the binaries reachable in bin/ under their own names.
link() {
  local file
  for file in "$@"; do
    [ -x "$file" ] || die "$file is not an executable"
    ln -sfn "$file" "$cache/bin/${file##*/}"
  done
}
