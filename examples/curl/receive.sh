#!/bin/sh
# Hear what followers write, as it happens: one JSON object a line. With the id of the
# last one as second argument it goes on after it, and nothing is missed.
#
#	KEFU_URL=http://127.0.0.1:7600 KEFU_API_KEY=kf_… sh examples/curl/receive.sh [SECONDS] [LAST-ID]
set -eu
curl -sSN --fail-with-body --max-time "${1:-86400}" "${KEFU_URL:-http://127.0.0.1:7600}/v1/events?type=follower.message" \
  -H "Authorization: Bearer $KEFU_API_KEY" -H "Accept: text/event-stream" ${2:+-H "Last-Event-ID: $2"} |
  sed -un 's/^data: //p'
