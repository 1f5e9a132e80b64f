"""A feed of your own: a chat's webhook fires triggers.

A feed is an action that is told of a trigger's life: CREATE, READ, UPDATE, DELETE (and
PAUSE, UNPAUSE) in `lifecycleEvent`, with the trigger in `triggerName`, the owner's key
in `authKey`, and the user's own parameters. This one keeps who wants which channel as
the parameter `hooks` of its own package, so that the web action `hook` has it with
every call and nothing else is needed to remember it.

    edgectl package create chat
    edgectl action put chat/feed examples/webhook/feed.py -a feed true
    edgectl action put chat/hook examples/webhook/hook.py --web true
    edgectl trigger create said --feed chat/feed -p channel general
"""

import base64
import json
import os
import urllib.request

PACKAGE = "chat"


def main(params):
    verb, trigger = params["lifecycleEvent"], params["triggerName"].split("/")[-1]
    hooks = dict(params.get("hooks") or {})
    hook = hooks.get(trigger)
    if verb in ("CREATE", "UPDATE"):
        channel = params.get("channel") or (hook or {}).get("channel")
        if not isinstance(channel, str):
            return {"error": "channel: is missing; give the channel to listen to"}
        hooks[trigger] = {"channel": channel, "active": True}
    elif hook is None:
        return {"error": f"the trigger {trigger} listens to no channel"}
    elif verb == "DELETE":
        del hooks[trigger]
    elif verb in ("PAUSE", "UNPAUSE"):
        hooks[trigger] = {**hook, "active": verb == "UNPAUSE"}
    elif verb != "READ":
        return {"error": f"lifecycleEvent: {verb} is not known here"}
    if verb != "READ":
        keep(hooks, params["authKey"])
    return {"config": hooks.get(trigger) or {}, "status": {"triggers": len(hooks)}}


def keep(hooks, key):
    """Write them down as the package's parameter, with the caller's own key."""
    url = f"{os.environ['__OW_API_HOST']}/api/v1/namespaces/_/packages/{PACKAGE}"
    body = {"parameters": [{"key": "hooks", "value": hooks}]}
    request = urllib.request.Request(
        f"{url}?overwrite=true", json.dumps(body).encode(), method="PUT"
    )
    request.add_header("Content-Type", "application/json")
    request.add_header(
        "Authorization", f"Basic {base64.b64encode(key.encode()).decode()}"
    )
    urllib.request.urlopen(request, timeout=10).read()
