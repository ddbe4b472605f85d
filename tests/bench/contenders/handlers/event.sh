#!/bin/sh
# What the balancer's Serf agent runs for each event: event.sh HAPROXY DIRECTORY
#
# Serf gives the kind of event in SERF_EVENT, and on standard input a line for each member: name, address, role, tags,
# with tabs between them. In DIRECTORY: `head`, the configuration up to the servers; `nodes`, a file for each server;
# `haproxy.pid`; `pids`, every HAProxy that was started; `stopped`, once it is over.
set -eu
haproxy=$1
cd "$2"
exec 9>lock
flock 9
[ ! -e stopped ] || exit 0

tab=$(printf '\t')
while IFS=$tab read -r name address role _; do
    [ "$role" = backend ] || continue
    case $SERF_EVENT in
        member-join) printf '    server %s %s:3000\n' "$name" "$address" >"nodes/$name" ;;
        member-leave | member-failed) rm -f "nodes/$name" ;;
    esac
    changed=yes
done
[ "$SERF_EVENT" != edited ] || changed=yes
[ "${changed:-}" ] || exit 0

cp head haproxy.cfg~
for file in nodes/*; do [ ! -f "$file" ] || cat "$file" >>haproxy.cfg~; done
mv haproxy.cfg~ haproxy.cfg

# The new process takes the listeners over the socket of the old one, and tells it to finish.
set -- -D -f "$PWD/haproxy.cfg" -p "$PWD/haproxy.pid"
[ ! -s haproxy.pid ] || set -- "$@" -x "$PWD/run.sock" -sf "$(cat haproxy.pid)"
"$haproxy" "$@" 9>&- </dev/null >>haproxy.log 2>&1
cat haproxy.pid >>pids
