# Sourced by the scripts beside it: Debian packages, installed or only fetched.

export DEBIAN_FRONTEND=noninteractive

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo --preserve-env=DEBIAN_FRONTEND "$@"; fi
}

# A second apt or dpkg on the machine is waited for, not fought.
apt() { as_root apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# packages NAME...: installs those that are missing.
packages() {
  local name missing=()
  for name in "$@"; do
    installed "$name" || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  apt update
  apt install --yes --no-install-recommends "${missing[@]}" >&2
}

# commands NAME=PACKAGE...: installs the package of each command that the machine lacks, from whatever source it came.
commands() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} = 0 ] || packages "${missing[@]}"
}

# fetch DIRECTORY COMMAND...: lets apt download into the directory. It may be one that apt's own user cannot enter.
fetch() { (cd "$1" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)" "${@:2}" >&2); }

# unpacked NAME DIRECTORY: fetches the package and unpacks it there. Nothing is installed, no service is started.
unpacked() {
  mkdir -p "$2/deb"
  fetch "$2/deb" download "$1"
  dpkg-deb --extract "$2/deb/$1"_*.deb "$2"
  rm -r "$2/deb"
}

sources_of() { apt-get indextargets --format "\$($1)" 'Codename: bookworm' 'Component: main' "Created-By: $2" | head -n 1; }

# source_packages: makes source packages of bookworm reachable, from the same mirror as the binary ones.
source_packages() {
  if [ -z "$(sources_of URI Sources)" ]; then
    local mirror key
    mirror=$(sources_of REPO_URI Packages)
    [ -n "$mirror" ] || die "apt knows no mirror of Debian bookworm"
    # Entries of one mirror must agree on the key, and apt does not say which it is: the first that it accepts.
    for key in '' $(keys_of_sources); do
      source_entry "$mirror" "$key" | as_root tee /etc/apt/sources.list.d/nave-tests.sources >/dev/null
      [ -z "$(sources_of URI Sources 2>/dev/null)" ] || break
    done
  fi
  apt update
}

keys_of_sources() {
  find /etc/apt \( -name '*.list' -o -name '*.sources' \) -exec sed -n 's/.*signed-by[:=] *\([^] ]*\).*/\1/Ip' {} + | sort -u
}

source_entry() {
  printf '%s\n' 'Types: deb-src' "URIs: $1" 'Suites: bookworm' 'Components: main' ${2:+"Signed-By: $2"}
}
