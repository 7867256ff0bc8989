#!/usr/bin/env python3
"""A bot behind a Kefu webhook, with the standard library alone: checks the signature, answers in the response.

    kefu webhook add http://127.0.0.1:3000/ --type follower.message     # with kefu serve --allow-private
    WEBHOOK_SECRET=whsec_… python3 receive.py 3000
"""
import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))


def verified(headers, body):
    id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    want = base64.b64encode(hmac.digest(KEY, f"{id}.{at}.".encode() + body, hashlib.sha256)).decode()
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(s.encode(), f"v1,{want}".encode()) for s in signatures)


class Bot(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20))
        if not verified(self.headers, body):
            self.send_error(401)
            return
        event = json.loads(body)["data"]
        text = event["data"].get("push", {}).get("Content", "")
        answer = {"messages": [{"msgtype": "text", "text": {"content": "你说：" + text}}]} if text else {}
        if text == "人工":
            answer = {"messages": [{"msgtype": "text", "text": {"content": "正在转接人工客服"}}], "handover": "agent"}
        out = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Bot).serve_forever()
