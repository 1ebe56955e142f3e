# A systemd of the test's own, as process 1 of namespaces of its own, that knows one unit. $1: a folder with what is put into place.
# Nothing of this machine is changed: every mount is private, and all of it ends with this process.
set -eu
given=$1
units=$(readlink -f /lib/systemd/system)
mount --make-rprivate /
mount -t tmpfs none /sys/fs/cgroup
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /mnt
mkdir /mnt/given /mnt/project /mnt/site
mount --bind "$given" /mnt/given
mount --bind "$2" /mnt/project
mount --bind "$3" /mnt/site
for folder in "$units" /usr/lib/systemd/system-generators /etc/systemd /opt /var/lib /run; do
    mount -t tmpfs -o mode=755 none "$folder"
done
cp -a /mnt/given/opt/. /opt/
cp -r /mnt/given/units/. "$units/"
for name in passwd group; do mount --bind "/mnt/given/$name" "/etc/$name"; done
for name in sysinit basic shutdown multi-user network umount final exit; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$name" >"$units/$name.target"
done
printf '[Unit]\nDefaultDependencies=no\nSuccessAction=exit-force\n[Service]\nType=oneshot\nExecStart=/bin/true\n' >"$units/systemd-exit.service"
mkdir -p /var/lib/isthmus-agent /etc/systemd/system
cp /mnt/given/config.json /var/lib/isthmus-agent/config.json
touch /var/lib/isthmus-agent/enrolment
chown -R 950:950 /var/lib/isthmus-agent
export container=test
unset NOTIFY_SOCKET
exec /lib/systemd/systemd --system --unit=isthmus-agent.service --log-target=console --log-level=info --show-status=no
