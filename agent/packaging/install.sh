#!/bin/sh
# Installs the device program, or removes it; see `install.sh --help`. May be run again: what is there is exchanged as a whole.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"

LINK=/usr/local/bin/isthmus-agent
UNIT_FILE=/etc/systemd/system/$UNIT

usage() {
    cat <<END
usage: install.sh [--wheelhouse FOLDER | --registry] [--without-interpreter] [--python PROGRAM]
       install.sh uninstall [--purge]

  --wheelhouse FOLDER    take the packages from there (default: the folder wheelhouse beside this script)
  --registry             take them from the package index that pip is set up with; the program's own wheel comes from the wheelhouse
  --without-interpreter  for a device that serves nothing itself
  --python PROGRAM       Python 3.10 or later (default: python3)
  uninstall              the device's enrolment, models and configuration stay, unless --purge
END
}

refuse() {
    echo "install.sh: error: $1. Fix: $2" >&2
    exit 1
}

uninstall() {
    if has_systemd; then
        systemctl disable --now --quiet "$UNIT" 2>/dev/null || true
    fi
    rm -f "$ROOT$LINK" "$ROOT$UNIT_FILE"
    rm -rf "$ROOT$PROGRAM" "$ROOT$PROGRAM.new" "$ROOT$PROGRAM.old"
    if has_systemd; then systemctl daemon-reload; fi
    if [ "$1" = yes ]; then
        remove_state
        remove_account
        echo "removed, with all that this device kept"
    else
        echo "removed. $STATE and $CONFIGURATION are left: install.sh uninstall --purge removes them as well"
    fi
}

check_python() {
    command -v "$PYTHON" >/dev/null || refuse "there is no $PYTHON on PATH" "install Python 3.10 or later, or name it: --python PROGRAM"
    found=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || refuse "$PYTHON does not start" "name another one: --python PROGRAM"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || refuse "$PYTHON is Python $found, expected 3.10 or later" "name another one: --python PROGRAM"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || refuse "$PYTHON cannot make virtual environments" "install them (apt-get install python3-venv)"
}

check_wheelhouse() {
    set -- "$WHEELHOUSE"/isthmus_agent-*.whl
    [ -f "$1" ] || refuse "$WHEELHOUSE has no isthmus_agent-*.whl in it" "name a folder that \`make device-wheelhouse\` made: --wheelhouse FOLDER"
    [ $# -eq 1 ] || refuse "$WHEELHOUSE has $# versions of isthmus_agent in it, expected one" "remove the others"
    WHEEL=$1
}

# Beside what is there, which is in use meanwhile, then in its place.
install_program() {
    new=$ROOT$PROGRAM.new
    rm -rf "$new" "$ROOT$PROGRAM.old"
    mkdir -p "$(dirname "$new")"
    trap 'rm -rf "$new"' EXIT
    "$PYTHON" -m venv "$new"
    set -- --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-compile --no-deps
    if [ "$SOURCE" = wheelhouse ]; then set -- "$@" --no-index --find-links "$WHEELHOUSE"; fi
    "$new/bin/python3" -m pip install "$@" --require-hashes -r "$HERE/$LOCK" ||
        refuse "the packages of $LOCK could not be installed" "make a wheelhouse for Python $found on $(uname -m) (make device-wheelhouse), or use --registry"
    "$new/bin/python3" -m pip install "$@" --no-index "$WHEEL"
    # What installed it is of no more use, and larger than all the rest of it.
    "$new/bin/python3" -m pip uninstall --quiet --yes --disable-pip-version-check pip setuptools 2>/dev/null
    find "$new/bin" -mindepth 1 ! -name 'python*' -delete
    install -m 0755 "$HERE/isthmus-agent" "$new/bin/isthmus-agent"
    chmod -R go+rX,go-w "$new"
    if [ -d "$ROOT$PROGRAM" ]; then mv "$ROOT$PROGRAM" "$ROOT$PROGRAM.old"; fi
    mv "$new" "$ROOT$PROGRAM"
    rm -rf "$ROOT$PROGRAM.old"
    compile_modules
}

start() {
    install -d "$(dirname "$ROOT$LINK")" "$(dirname "$ROOT$UNIT_FILE")"
    ln -sfn "$PROGRAM/bin/isthmus-agent" "$ROOT$LINK"
    install -m 0644 "$HERE/$UNIT" "$ROOT$UNIT_FILE"
    if has_systemd; then
        systemctl daemon-reload
        systemctl enable --quiet "$UNIT"
        systemctl restart "$UNIT"
    elif [ -z "$ROOT" ]; then
        echo "there is no systemd here: have $PROGRAM/bin/isthmus-agent run started as $ACCOUNT by what starts services"
    fi
}

SOURCE=wheelhouse
WHEELHOUSE=$HERE/wheelhouse
LOCK=requirements-litert.txt
PYTHON=python3
WHAT=install
PURGE=no
while [ $# -gt 0 ]; do
    case "$1" in
    uninstall) WHAT=uninstall ;;
    --purge) PURGE=yes ;;
    --registry) SOURCE=registry ;;
    --without-interpreter) LOCK=requirements.txt ;;
    --wheelhouse | --python)
        [ $# -gt 1 ] || refuse "$1 needs a value" "install.sh --help shows all options"
        if [ "$1" = --python ]; then PYTHON=$2; else WHEELHOUSE=$2; fi
        shift
        ;;
    --help)
        usage
        exit 0
        ;;
    *) refuse "unknown option $1" "install.sh --help shows all options" ;;
    esac
    shift
done

[ -n "$ROOT" ] || [ "$(id -u)" -eq 0 ] || refuse "this user may not install it" "run it as root"
if [ "$WHAT" = uninstall ]; then
    uninstall "$PURGE"
    exit 0
fi
[ "$PURGE" = no ] || refuse "--purge belongs to uninstall" "install.sh uninstall --purge"
if [ -z "$ROOT" ] && [ "$(dpkg-query -W -f '${db:Status-Status}' isthmus-agent 2>/dev/null)" = installed ]; then
    refuse "the Debian package isthmus-agent is installed" "remove it first (apt-get remove isthmus-agent keeps what the device has), or install a newer package"
fi
check_python
check_wheelhouse
make_account
make_folders
install_program
start
echo "installed in $PROGRAM. Where this device is in no fleet yet: isthmus-agent enrol --token-file FILE, then systemctl start isthmus-agent"
