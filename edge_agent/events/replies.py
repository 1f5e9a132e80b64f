"""MQTT 5 requests: where a message wants its answer, and what is sent there. Pure.

A message with a response topic is a request: the result of every rule it starts (and of
an action invoked by message) is published to that topic with the request's correlation
data, through the outbox and by the connection the request came in on. A rule's own
`mqtt-result-topic` gets its copy besides.
"""

from __future__ import annotations

from edge_agent.events.packets import Properties
from edge_agent.events.topics import Topic, TopicError
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.feeds import Outgoing, Reply

LONGEST_CORRELATION = 1024


def reply_for(properties: Properties, subscription: str, broker: str) -> Reply | None:
    """None when no answer is asked for, or to a place that cannot be.

    Topics with a leading `$` are the broker's own.
    """
    topic = properties.response_topic
    correlation = properties.correlation_data
    if topic is None or topic.startswith("$"):
        return None
    if correlation is not None and len(correlation) > LONGEST_CORRELATION:
        return None
    try:
        Topic(topic)
    except TopicError:
        return None
    return Reply(topic=topic, correlation=correlation, broker=broker, via=subscription)


def outgoing_reply(reply: Reply, record: ActivationRecord) -> Outgoing:
    return Outgoing(
        id=f"{record.activation_id}-reply",
        namespace=record.namespace,
        broker=reply.broker,
        topic=reply.topic,
        payload=bytes(record.response.result),
        correlation=reply.correlation,
        via=reply.via,
    )
