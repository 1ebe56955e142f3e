#!/bin/sh
# As in curlimages/curl: arguments that name no command are arguments for curl.
if [ "${1#-}" != "$1" ] || [ -z "$(command -v "$1")" ]; then
    set -- curl "$@"
fi
exec "$@"
