#!/bin/sh
# Installs the credentials in this directory on this machine. Run it as root.
# It can be run again: what is right is left alone.
#
#   sh install.sh                 below /
#   DESTDIR=/mnt sh install.sh    below another root
#   QEMU_GROUP=NAME sh install.sh if QEMU runs as another group than qemu.conf or the distribution says
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
changed=0

# The group that QEMU runs as: qemu.conf's, else the one of the distribution's libvirt.
qemu_group=${QEMU_GROUP:-}
conf=$root/etc/libvirt/qemu.conf
if [ -z "$qemu_group" ] && [ -r "$conf" ]; then
  qemu_group=$(sed -n 's/^[[:space:]]*group[[:space:]]*=[[:space:]]*["'\'']\{0,1\}+\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p' "$conf" | tail -n 1)
fi
if [ -z "$qemu_group" ]; then
  id= like=
  if [ -r "$root/etc/os-release" ]; then
    id=$(sed -n 's/^ID=["'\'']\{0,1\}\([A-Za-z0-9._-]*\).*/\1/p' "$root/etc/os-release")
    like=$(sed -n 's/^ID_LIKE=["'\'']\{0,1\}\([A-Za-z0-9 ._-]*\).*/\1/p' "$root/etc/os-release")
  fi
  case " $id $like " in
  *" ubuntu "*) qemu_group=kvm ;;
  *" debian "* | *" arch "*) qemu_group=libvirt-qemu ;;
  *" fedora "* | *" rhel "* | *suse* | *" gentoo "*) qemu_group=qemu ;;
  *) qemu_group=root ;;
  esac
fi

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 3
}

# rights OWNER GROUP MODE PATH
rights() {
  if [ "$(stat -Lc '%U:%G %a' "$4")" != "$1:$2 ${3#0}" ]; then
    chown "$1:$2" "$4" && chmod "$3" "$4" || fail "cannot set owner and mode of $4"
    changed=$((changed + 1))
  fi
}

# dir OWNER GROUP MODE PATH
dir() {
  if [ ! -d "$root$4" ]; then
    (umask 022 && mkdir -p "$(dirname "$root$4")") && mkdir "$root$4" || fail "cannot make $root$4"
    changed=$((changed + 1))
  fi
  rights "$1" "$2" "$3" "$root$4"
}

# file OWNER GROUP MODE PATH
file() {
  if [ -e "$root$4" ] && cmp -s "$here$4" "$root$4"; then
    rights "$1" "$2" "$3" "$root$4"
    return
  fi
  # Made private, then given away, then renamed: never readable by more than it is to be.
  tmp=$(mktemp "$(dirname "$root$4")/.virtls.XXXXXX") || fail "cannot write to $(dirname "$root$4")"
  cat "$here$4" >"$tmp" && chown "$1:$2" "$tmp" && chmod "$3" "$tmp" && sync "$tmp" && mv -f "$tmp" "$root$4" || {
    rm -f "$tmp"
    fail "cannot install $root$4"
  }
  changed=$((changed + 1))
}

name=$(getent group "$qemu_group" | cut -d: -f1)
[ -n "$name" ] || fail "there is no group $qemu_group: install QEMU or libvirt first, or set QEMU_GROUP"
qemu_group=$name # also where qemu.conf has a number

@LIST@

if command -v restorecon >/dev/null 2>&1; then
  restorecon -RF "$root/etc/pki" 2>/dev/null || true
fi
printf '%s changes. What makes the files live is in %s/activate.\n' "$changed" "$here"
