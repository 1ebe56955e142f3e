# The first process of an engine's own process namespace: engine.sh FOLDER NAME CGROUP DOCKERD [OPTION …]
# It prints "ready" once the mounts are its own, waits for a line on standard input (by then the network is there), and
# runs dockerd until that ends or standard input does. Then it leaves nothing behind: no process, no cgroup. Its mounts and
# interfaces go with its namespaces.
set -eu
folder=$1 name=$2 cgroup=$3
shift 3
echo "$name" >/proc/sys/kernel/hostname
mount -t tmpfs tmpfs /run
# dockerd and containerd write to these as well; what they write belongs to this engine alone.
for place in /etc /opt; do
    mkdir -p "$folder$place/upper" "$folder$place/work"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$folder$place/upper,workdir=$folder$place/work" "$place"
done
exec 3<&0
echo ready
read -r _ <&3
"$@" </dev/null >>"$folder/log" 2>&1 3<&- &
daemon=$!
{
    read -r _ <&3 || :
    kill -KILL -1
} &
status=0
wait "$daemon" || status=$?
kill -KILL -1 2>/dev/null || :
attempts=100
while [ "$attempts" -gt 0 ] && [ -n "$(find /sys/fs/cgroup/"$cgroup" /sys/fs/cgroup/*/"$cgroup" -maxdepth 0 2>/dev/null)" ]; do
    find /sys/fs/cgroup/"$cgroup" /sys/fs/cgroup/*/"$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    attempts=$((attempts - 1))
done
exit "$status"
