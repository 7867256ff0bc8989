#!/bin/sh
# Hand a message to the gateway and wait for its end. The key makes repeats safe:
# run it twice with the same one, and the follower gets one message.
#
#	KEFU_URL=http://127.0.0.1:7600 KEFU_API_KEY=kf_… sh examples/curl/send.sh oUser1 "您的订单已发货" order-7
set -eu
text=$(printf %s "$2" | sed 's/[\\"]/\\&/g') # of what JSON escapes, no more: no line breaks
curl -sS --fail-with-body "${KEFU_URL:-http://127.0.0.1:7600}/v1/messages?wait=10s" \
  -H "Authorization: Bearer $KEFU_API_KEY" -H "Content-Type: application/json" -H "Idempotency-Key: $3" \
  -d "{\"message\":{\"touser\":\"$1\",\"msgtype\":\"text\",\"text\":{\"content\":\"$text\"}}}"
echo
