#!/bin/sh
# Starts Redis with the password from the environment, where neither the arguments of a process nor a file on a disk
# tell it: Redis is given its hash, in a file in memory.
set -eu
umask 077

: "${REDISCLI_AUTH:?is empty: the key 'password' of the Secret of Redis holds nothing}"
hash=$(printf %s "$REDISCLI_AUTH" | sha256sum | cut -d ' ' -f 1)

denied=
for command in $DENIED_COMMANDS; do
  denied="$denied -$command"
done
printf 'user default on #%s ~* &* +@all%s\n' "$hash" "$denied" >/run/redis/users.acl

unset REDISCLI_AUTH
exec redis-server /etc/redis/redis.conf
