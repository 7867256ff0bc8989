#!/bin/sh
# Check a webhook that a CGI script or the like has received: its body on stdin, its
# headers as arguments. Ends with 0 if it is signed and not older than 5 minutes.
#
#	WEBHOOK_SECRET=whsec_… sh examples/curl/verify.sh "$ID" "$TIMESTAMP" "$SIGNATURE" < body
set -eu
case $2 in '' | *[!0-9]*) exit 1 ;; esac
age=$(($(date +%s) - $2))
[ "${age#-}" -le 300 ] || exit 1
key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | base64 -d | od -An -tx1 | tr -d ' \n')
want=v1,$({ printf %s. "$1" "$2"; cat; } | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
for one in $3; do [ "$one" = "$want" ] && exit 0; done
exit 1
