# Runs a program in a root of its own, an overlay that is gone when the program
# ends. This shell is process 1 of new PID, mount and UTS namespaces, so that
# everything started here ends with it. The exit code is the program's, as a
# shell tells it; 125 if the root could not be made.
#
# Arguments: SCRATCH LOWER FSTAB HOSTS HOSTNAME HOME UID DIR PROGRAM ARGUMENT...
set -e
trap 'exit 125' EXIT
umask 022
scratch=$1 lower=$2 fstab=$3 hosts=$4 hostname=$5 home=$6 uid=$7 dir=$8
shift 8

mount -n -t tmpfs -o mode=755 peer "$scratch"
root=$scratch/root
mkdir "$scratch/upper" "$scratch/work" "$root"
mount -n -t overlay -o "lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work" peer "$root"

printf %s "$hostname" >/proc/sys/kernel/hostname
rm -f "$root/etc/hosts" "$root/etc/resolv.conf"
: >"$root/etc/resolv.conf"
printf %s "$hosts" >"$root/etc/hosts"
if [ "$uid" != 0 ]; then
  printf 'virtls:x:%s:%s::/home/virtls:/bin/sh\n' "$uid" "$uid" >>"$root/etc/passwd"
  printf 'virtls:x:%s:\n' "$uid" >>"$root/etc/group"
fi
mkdir -p "$root/home/virtls"
[ -z "$home" ] || cp -a "$home/." "$root/home/virtls"
chown -R "$uid:$uid" "$root/home/virtls"

printf %s "$fstab" >"$scratch/fstab"
mount -n -a -T "$scratch/fstab"

trap - EXIT
if [ "$uid" = 0 ]; then
  unshare --root="$root" --wd="$dir" -- "$@"
else
  unshare --root="$root" --wd="$dir" --setgid="$uid" --setuid="$uid" -- "$@"
fi
# Not the last command's: a shell that is replaced by it would make the program process 1.
exit $?
