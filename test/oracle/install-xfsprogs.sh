#!/usr/bin/env bash
# Install the reference tools that the tests compare with. Needs root and apt (Debian or Ubuntu, amd64 or arm64); does nothing where it is done.
#
#   the distribution's xfsprogs   on the PATH, with attr and acl
#   the newest Debian packages    under PREFIX (default /opt/xfsprogs), run by wrappers in PREFIX/bin on the C library that came with them, so that
#                                 nothing of the system is upgraded
#
# usage: install-xfsprogs.sh [PREFIX]
set -euo pipefail

prefix=${1:-${XFSKIT_XFSPROGS_PREFIX:-/opt/xfsprogs}}
mirror=${XFSKIT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
tools=(mkfs.xfs xfs_repair xfs_db xfs_io xfs_logprint xfs_copy xfs_mdrestore xfs_spaceman xfs_fsr xfs_growfs xfs_quota)
packages=(xfsprogs libc6 libblkid1 libbsd0 libdevmapper1.02.1 libedit2 libgcc-s1 libinih1 libmd0 libpcre2-8-0 libselinux1 libtinfo6
  libudev1 liburcu8t64 libuuid1)

works() { [ -x "$1" ] && "$1" -V >/dev/null 2>&1; }

install_distribution() {
  if command -v mkfs.xfs >/dev/null && command -v setfattr >/dev/null && command -v setfacl >/dev/null; then return; fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends xfsprogs attr acl >/dev/null
}

# The mirror that the machine is set up with, where it is one of Debian.
configured_mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -Eo 'https?://[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ' || true
}

install_newest() {
  if works "$prefix/bin/mkfs.xfs"; then return; fi
  local work key found
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now, not of then
  trap "rm -rf '$work'" EXIT
  found=$(configured_mirror)
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e "$key" ] || key=/usr/share/keyrings/debian-archive-keyring.pgp
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$prefix/bin"
  echo "deb [signed-by=$key] ${found:-$mirror} sid main" >"$work/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$work/debs" && "${apt[@]}" download "${packages[@]/%//sid}")
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$prefix/root"; done
  write_wrappers
}

write_wrappers() {
  local loader libraries
  loader=$(find "$prefix/root" -name 'ld-linux-*.so.*' | head -n 1)
  libraries=$(dirname "$(find "$prefix/root" -name 'libuuid.so.1' | head -n 1)"):$(dirname "$loader")
  for tool in "${tools[@]}"; do
    cat >"$prefix/bin/$tool" <<WRAPPER
#!/bin/sh
exec "$loader" --library-path "$libraries" "$prefix/root/usr/sbin/$tool" "\$@"
WRAPPER
    chmod +x "$prefix/bin/$tool"
  done
}

install_distribution
install_newest
mkfs.xfs -V
"$prefix/bin/mkfs.xfs" -V
