"""What the chat calls: fires every trigger that listens to the message's channel.

A web action answers anybody who knows its URL,

    POST HOST/api/v1/web/guest/chat/hook.json
    {"channel": "general", "user": "ann", "text": "hello"}

so give it a secret in real life: `-a require-whisk-auth SECRET`.
"""

import base64
import json
import os
import urllib.request


def main(params):
    channel, text = params.get("channel"), params.get("text")
    if not isinstance(channel, str) or not isinstance(text, str):
        return {"error": {"statusCode": 400, "body": "channel and text are missing"}}
    message = {"channel": channel, "user": params.get("user"), "text": text}
    fired = [
        trigger
        for trigger, hook in sorted((params.get("hooks") or {}).items())
        if hook["active"] and hook["channel"] == channel
    ]
    for trigger in fired:
        fire(trigger, message)
    return {"fired": fired}


def fire(trigger, message):
    """As the owner of the namespace: web actions run with its key."""
    key = base64.b64encode(os.environ["__OW_API_KEY"].encode()).decode()
    url = f"{os.environ['__OW_API_HOST']}/api/v1/namespaces/_/triggers/{trigger}"
    request = urllib.request.Request(url, json.dumps(message).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Basic {key}")
    urllib.request.urlopen(request, timeout=10).read()
