# shellcheck shell=sh
# What a device has beside the program's files, however it was installed. install.sh reads this; the Debian package's scripts begin with it.
# DPKG_ROOT: a system that is prepared in a folder. Nothing is started there, and no account made.
ROOT="${DPKG_ROOT:-}"
PROGRAM=/opt/isthmus-agent
STATE=/var/lib/isthmus-agent
CONFIGURATION=/etc/isthmus-agent
ACCOUNT=isthmus-agent
UNIT=isthmus-agent.service

has_systemd() {
    [ -z "$ROOT" ] && [ -d /run/systemd/system ]
}

make_account() {
    [ -z "$ROOT" ] || return 0
    getent passwd "$ACCOUNT" >/dev/null && return 0
    useradd --system --user-group --no-create-home --home-dir "$STATE" --shell /usr/sbin/nologin "$ACCOUNT"
}

make_folders() {
    install -d -m 0755 "$ROOT$CONFIGURATION"
    if [ -z "$ROOT" ]; then
        # Enrolling comes before the first start, which would make it as well.
        install -d -m 0700 -o "$ACCOUNT" -g "$ACCOUNT" "$STATE"
    else
        install -d -m 0700 "$ROOT$STATE"
    fi
}

# Its account cannot write beside the modules: without this each start would compile them again.
compile_modules() {
    "$ROOT$PROGRAM/bin/python3" -I -m compileall -q "$ROOT$PROGRAM/lib" >/dev/null || true
}

remove_compiled() {
    [ ! -d "$ROOT$PROGRAM" ] || find "$ROOT$PROGRAM" -depth -type d -name __pycache__ -exec rm -rf {} +
}

# The enrolment, the models, the configuration: what removing leaves, and purging does not.
remove_state() {
    rm -rf "$ROOT$STATE" "$ROOT$CONFIGURATION"
}

remove_account() {
    [ -z "$ROOT" ] || return 0
    ! getent passwd "$ACCOUNT" >/dev/null || userdel "$ACCOUNT"
}
