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
if [ -n "$root" ]; then
  [ -d "$root" ] || (umask 022 && mkdir -p "$root")
  root=$(cd "$root" && pwd -P)
  root=${root%/}
fi
me=$(id -u)
known=
changed=0

# The group that QEMU runs as: qemu.conf's, else the one of the distribution's libvirt.
qemu_group=${QEMU_GROUP:-}
conf=$root/etc/libvirt/qemu.conf
if [ -z "$qemu_group" ] && [ -f "$conf" ] && [ -r "$conf" ]; then
  qemu_group=$(sed -n 's/^[[:space:]]*group[[:space:]]*=[[:space:]]*["'\'']\{0,1\}+\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p' "$conf" | tail -n 1)
fi
if [ -z "$qemu_group" ]; then
  id= like=
  if [ -f "$root/etc/os-release" ] && [ -r "$root/etc/os-release" ]; then
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
  [ "$me" = 0 ] || [ -n "$root" ] || printf 'install.sh: run it as root\n' >&2
  exit 3
}

# trusted PATH: nobody but root, and who runs this, can make it lead elsewhere.
# That is so for good once it is so.
trusted() {
  case $known in *":$1:"*) return ;; esac
  case $(stat -c %u "$1") in
  0 | "$me" | "${SUDO_UID:-0}") ;;
  *) fail "$1 belongs to $(stat -c %U "$1"), who could make it lead elsewhere. If only the owner is wrong: chown -h root $1; else remove it" ;;
  esac
  [ -z "$(find "$1" -prune -type d -perm -0002 ! -perm -1000)" ] || fail "everybody may replace what is in $1. Mend that with: chmod o-w $1"
  known=$known:$1:
}

# way DIR: walks to a directory that is there, looks at each directory and link
# on the way, and sets real to where it is.
way() {
  todo=$1 real='' links=0
  while [ -n "$todo" ]; do
    todo=${todo#/}
    part=${todo%%/*}
    todo=${todo#"$part"}
    case $part in
    '' | .) continue ;;
    ..)
      real=${real%/*}
      continue
      ;;
    esac
    trusted "$real/$part"
    if [ ! -L "$real/$part" ]; then
      real=$real/$part
      continue
    fi
    links=$((links + 1))
    [ "$links" -le 40 ] || fail "there are too many links on the way to $1"
    to=$(readlink "$real/$part")
    todo=$to$todo
    case $to in /*) real= ;; esac
  done
  case $real/ in
  "$root"/*) ;;
  *) fail "$1 is a link, or below one, and leads to $real, which is not below $root. Make it a relative link to a directory there, or remove it" ;;
  esac
}

# free PATH: nothing is there.
free() {
  [ ! -e "$1" ] && [ ! -L "$1" ] || fail "$1 is no directory, or a link that leads to none. Move it out of the way"
}

# parents DIR: makes the missing directories, open to all, and goes the way.
parents() {
  if [ ! -d "$root$1/" ]; then
    free "$root$1"
    parents "${1%/*}"
    mkdir -m 755 "$root$1" || fail "cannot make $root$1"
  fi
  way "$root$1"
}

# right OWNER GROUP MODE PATH
right() {
  [ "$(stat -c '%U:%G %a' "$4")" = "$1:$2 ${3#0}" ]
}

# dir OWNER GROUP MODE PATH
dir() {
  parents "${4%/*}"
  if [ ! -d "$root$4" ]; then
    free "$root$4"
    mkdir "$root$4" || fail "cannot make $root$4"
    changed=$((changed + 1))
  fi
  way "$root$4"
  if ! right "$1" "$2" "$3" "$real"; then
    chown "$1:$2" "$real" && chmod "$3" "$real" || fail "cannot set owner and mode of $real"
    changed=$((changed + 1))
  fi
}

# file OWNER GROUP MODE PATH
file() {
  way "$root${4%/*}"
  target=$real/${4##*/}
  if [ -L "$target" ]; then
    fail "$target is a link to $(readlink "$target"). If virtls is to look after this file: rm $target; if what made the link is, leave the service out of the fleet file"
  elif [ -e "$target" ] && [ ! -f "$target" ]; then
    fail "$target is no regular file. Move it out of the way"
  elif [ -f "$target" ] && cmp -s "$here$4" "$target" && right "$1" "$2" "$3" "$target"; then
    return
  fi
  # Made private, then given away, then renamed: never readable by more than it is to be.
  tmp=$(mktemp "$real/.virtls.XXXXXX") || fail "cannot write to $real"
  cat "$here$4" >"$tmp" && chown "$1:$2" "$tmp" && chmod "$3" "$tmp" && sync "$tmp" && mv -f "$tmp" "$target" || {
    rm -f "$tmp"
    fail "cannot install $target"
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
