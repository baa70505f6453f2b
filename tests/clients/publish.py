"""Publishes a message for each row of the table in docs/wire.md that begins with `pika`, `kombu` or `cloudevents-py`.

    publish.py AMQP-URL

The header `case` names the row. Bodies are the event that the test's consumer handles, unless the row says otherwise.
"""

import gzip
import json
import sys
import time
import uuid
from datetime import datetime, timezone
from decimal import Decimal

import kombu
import pika
from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

EXCHANGE = "postroom"
TOPIC = "orders.placed"
EVENT = {"n": 1, "customer": "a"}
BODY = json.dumps(EVENT).encode()
KEY = "cloudEvents_partitionkey"
URL = sys.argv[1]


def v4():
    return str(uuid.uuid4())


def publish_with_pika():
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.confirm_delivery()

    def publish(case, headers=None, body=BODY, **properties):
        properties.setdefault("message_id", v4())
        properties.setdefault("type", TOPIC)
        headers = {"case": case, **(headers or {})}
        properties = pika.BasicProperties(headers=headers, delivery_mode=2, **properties)
        channel.basic_publish(EXCHANGE, TOPIC, body, properties, mandatory=True)

    now = time.time()
    publish("pika", message_id="order-1", app_id="shop", timestamp=int(now), headers={KEY: "7"})
    publish("pika-milliseconds", timestamp=int(now * 1_000))
    publish("pika-microseconds", timestamp=int(now * 1_000_000))
    publish("pika-no-time", timestamp=0)
    publish("pika-old-time", timestamp=42)
    publish("pika-hash-id", message_id="d41d8cd9-8f00-7204-a980-0998ecf8427e")
    publish("pika-counter-id", message_id="00000000-0000-7000-8000-000000000001")
    publish("pika-no-id", message_id=None)
    publish("pika-empty-id", message_id="")
    publish("pika-empty-id-and-header", message_id="", headers={"cloudEvents_id": "order-2"})
    publish("pika-empty-type", type="")
    attributes = {"specversion": "1.0", "id": "order-3", "source": "/shop", "type": TOPIC}
    attributes = {**attributes, "partitionkey": "7", "tenant": "north"}
    colon = {f"cloudEvents:{name}": value for name, value in attributes.items()}
    publish("pika-colon", message_id=None, type=None, headers=colon)
    publish("pika-two-keys", headers={KEY: "7", "cloudEvents:partitionkey": "8"})
    publish("pika-two-equal-keys", headers={KEY: "7", "cloudEvents:partitionkey": "7"})
    publish("pika-key-bytes", headers={KEY: b"7"})
    publish("pika-key-other-bytes", headers={KEY: b"\xff"})
    publish("pika-key-number", headers={KEY: 7})
    publish("pika-key-decimal", headers={KEY: Decimal("12.50")})
    publish("pika-key-list", headers={KEY: ["7"]})
    publish("pika-decimal", headers={"amount": Decimal("-12.5")})
    publish("pika-gzip", content_encoding="gzip", body=gzip.compress(BODY))
    publish("pika-utf-16", content_encoding="utf-16", body=BODY.decode().encode("utf-16"))
    publish("pika-identity", content_encoding="identity")
    publish("pika-mark", body=b"\xef\xbb\xbf" + BODY)
    publish("pika-xml", content_type="application/xml", body=b"<order/>")

    def event(data=EVENT):
        attributes = {"id": v4(), "source": "/shop", "type": TOPIC, "partitionkey": "7"}
        attributes |= {"time": datetime.now(timezone.utc), "datacontenttype": "application/json"}
        return CloudEvent({**attributes, "tenant": "north"}, data)

    def publish_event(case, headers, content_type, body):
        publish(case, headers, body, content_type=content_type, message_id=None, type=None)

    for mode in ("binary", "structured"):
        convert = getattr(amqp, f"to_{mode}")
        message = convert(event(), JSONFormat())
        content_type = message.properties["content-type"]
        headers, body = message.application_properties, message.application_data
        publish_event(f"cloudevents-py-amqp-{mode}", headers, content_type, body)
        convert = getattr(rabbitmq, f"to_{mode}")
        message = convert(event(), JSONFormat())
        publish_event(
            f"cloudevents-py-rabbitmq-{mode}", message.headers, message.content_type, message.body
        )
    connection.close()


def publish_with_kombu():
    with kombu.Connection(URL.replace("amqp://", "pyamqp://", 1)) as connection:
        exchange = kombu.Exchange(EXCHANGE, type="topic", durable=True, passive=True)
        channel = connection.channel()
        producer = kombu.Producer(channel, exchange, routing_key=TOPIC, auto_declare=False)

        def publish(case, body=EVENT, headers=None, **properties):
            headers = {"case": case, **(headers or {})}
            producer.publish(body, headers=headers, **properties)

        publish("kombu", message_id="order-4", type=TOPIC)
        publish("kombu-no-id")
        publish("kombu-compressed", message_id=v4(), compression="gzip")
        publish("kombu-pickle", message_id=v4(), serializer="pickle")
        task = {"lang": "py", "task": "shop.tasks.place", "id": v4(), "retries": 0}
        publish("kombu-celery", [[], EVENT, {}], headers=task, correlation_id=task["id"])


publish_with_pika()
publish_with_kombu()
