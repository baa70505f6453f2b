// Publishes a message for each row of the table in docs/wire.md that begins with `amqplib` or `cloudevents-js`.
//
//     publish.js AMQP-URL
//
// The header `case` names the row. Bodies are the event that the test's consumer handles, unless the row says otherwise.
'use strict';

const { randomUUID } = require('node:crypto');
const { deflateSync } = require('node:zlib');

const { connect } = require('amqplib');
const { CloudEvent, HTTP, Kafka } = require('cloudevents');

const TOPIC = 'orders.placed';
const EVENT = { n: 1, customer: 'a' };
const KEY = 'cloudEvents_partitionkey';

async function main(url) {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();

  function publish(name, { headers = {}, body = EVENT, ...options } = {}) {
    const content = typeof body === 'string' || Buffer.isBuffer(body) ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
    const properties = { messageId: randomUUID(), type: TOPIC, ...options, headers: { case: name, ...headers } };
    channel.publish('postroom', TOPIC, content, { mandatory: true, ...properties });
  }

  publish('amqplib', { messageId: 'order-5', appId: 'shop', headers: { [KEY]: '7' } });
  publish('amqplib-milliseconds', { timestamp: Date.now() });
  publish('amqplib-key-number', { headers: { [KEY]: 7 } });
  publish('amqplib-key-fraction', { headers: { [KEY]: 1.5 } });
  publish('amqplib-key-buffer', { headers: { [KEY]: Buffer.from('7') } });
  const decimal = { '!': 'decimal', value: { digits: 1250, places: 2 } };
  publish('amqplib-key-decimal', { headers: { [KEY]: decimal } });
  const whole = { '!': 'double', value: 7 };
  publish('amqplib-key-double', { headers: { [KEY]: whole } });
  publish('amqplib-deflate', { contentEncoding: 'deflate', body: deflateSync(JSON.stringify(EVENT)) });
  publish('amqplib-nestjs', { messageId: undefined, type: undefined, body: { pattern: TOPIC, data: EVENT } });
  const envelope = { messageId: randomUUID(), messageType: ['urn:message:Shop:OrderPlaced'], message: EVENT };
  const contentType = 'application/vnd.masstransit+json';
  publish('amqplib-masstransit', { type: undefined, contentType, body: envelope });

  const attributes = { source: '/shop', type: TOPIC, partitionkey: '7', tenant: 'north', datacontenttype: 'application/json' };
  const event = () => new CloudEvent({ ...attributes, data: EVENT });
  const properties = { messageId: undefined, type: undefined };
  const http = HTTP.binary(event());
  publish('cloudevents-js-http-binary', { ...properties, headers: http.headers, body: http.body });
  const structured = HTTP.structured(event());
  publish('cloudevents-js-http-structured', { ...properties, contentType: structured.headers['content-type'], body: structured.body });
  const bytes = new CloudEvent({ ...attributes, data: Uint8Array.from(Buffer.from(JSON.stringify(EVENT))) });
  publish('cloudevents-js-bytes', { ...properties, contentType: 'application/cloudevents+json', body: JSON.stringify(bytes) });
  const kafka = Kafka.binary(event());
  publish('cloudevents-js-kafka-binary', { ...properties, headers: kafka.headers, body: JSON.stringify(kafka.value) });
  const batch = JSON.stringify([event(), event()]);
  publish('cloudevents-js-batch', { ...properties, contentType: 'application/cloudevents-batch+json', body: batch });

  await channel.waitForConfirms();
  await connection.close();
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
