#!/usr/bin/env python3
"""Hand a message to the gateway and wait for its end, with the standard library alone.

The key makes repeats safe: run it twice with the same one, and the follower gets one message.

    KEFU_URL=http://127.0.0.1:7600 KEFU_API_KEY=kf_… python3 send.py oUser1 "您的订单已发货" order-7
"""
import json, os, sys, urllib.error, urllib.request

if len(sys.argv) != 4 or "KEFU_API_KEY" not in os.environ:
    sys.exit(__doc__)
openid, text, key = sys.argv[1:]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected becomes a GET, and its answer looks like success."""

    def redirect_request(self, *_):
        return None


request = urllib.request.Request(
    os.environ.get("KEFU_URL", "http://127.0.0.1:7600") + "/v1/messages?wait=10s",
    data=json.dumps({"message": {"touser": openid, "msgtype": "text", "text": {"content": text}}}).encode(),
    headers={
        "Authorization": "Bearer " + os.environ["KEFU_API_KEY"],
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    },
)
try:
    with urllib.request.build_opener(NoRedirect).open(request, timeout=30) as answer:
        message = json.load(answer)
except urllib.error.HTTPError as e:  # 4xx: nothing was kept; why is in "detail" and "advice". 5xx: send it again with the same key
    sys.exit(e.read().decode())
print(message["id"], message["state"])
