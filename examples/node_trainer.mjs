// A trainer in Node, without packages: it measures a checksum, shares that, builds one if asked.
//
//   COORD_TOKEN_FILE=AI_node.token node examples/node_trainer.mjs AI_node
//
// It joins by the gateway at COORD_URL, coord://127.0.0.1:6000 (coords:// is with TLS, and then
// COORD_TLS_CA the file of a private CA). docs/protocol.md describes all that is said here.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

const AI = process.argv[2] ?? 'AI_node';
const { COORD_URL = 'coord://127.0.0.1:6000', COORD_TOKEN, COORD_TOKEN_FILE } = process.env;
if (!/^coords?:/.test(COORD_URL)) fail('COORD_URL: it must be coord://host[:6000] or coords://…');
if (!COORD_TOKEN && !COORD_TOKEN_FILE) fail('set COORD_TOKEN_FILE; `coord enroll --out` writes it');
const TOKEN = COORD_TOKEN || readFileSync(COORD_TOKEN_FILE, 'utf8').replace(/\r?\n$/, '');
const CA = process.env.COORD_TLS_CA && readFileSync(process.env.COORD_TLS_CA);
const INSTANCE = randomUUID(); // of this start: under it what is sent again has no effect twice
const HELLO = { specialization: 'networking', capabilities: ['network_protocols', 'checksum'] };
const FINAL = ['bad_handshake', 'bad_login', 'id_taken', 'kicked', 'revoked'];

let socket;
let since; // the cursor: how far we have read
let sent = 0; // how many messages; the number of each is its message_id
let unconfirmed = []; // those that may not have taken effect yet, in their order
let waitMs = 500; // before it tries to come back

function connect() {
  const { protocol, hostname, port } = new URL(COORD_URL);
  const to = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 6000), ca: CA };
  socket = protocol === 'coords:' ? tls.connect(to) : net.connect(to);
  socket.setEncoding('utf8').setKeepAlive(true, 5000);
  let rest = '';
  socket.on('data', (text) => {
    const lines = (rest + text).split('\n'); // readline would split at U+2028 as well
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  });
  socket.on('error', (error) => console.error('no connection:', error.message));
  socket.on('close', () => setTimeout(connect, waitMs));
  waitMs = Math.min(waitMs * 2, 10_000);
  write({ ai_id: AI, token: TOKEN, instance: INSTANCE, ack: true, since });
  write(envelope('hello', randomUUID(), HELLO));
  unconfirmed.forEach(write);
}

function write(object) {
  if (socket.writable) socket.write(`${JSON.stringify(object)}\n`);
}

function envelope(message_type, message_id, payload, target_ai = null) {
  const timestamp = new Date().toISOString();
  return { message_id, sender_id: AI, message_type, timestamp, payload, target_ai };
}

function send(type, payload, target) {
  sent += 1;
  unconfirmed.push(envelope(type, String(sent), payload, target));
  write(unconfirmed.at(-1));
}

function confirm() { // a query that is answered: all that was sent before it has taken effect
  if (unconfirmed.length) write(envelope('query', `confirm ${sent}`, { what: 'counts' }));
}

const FROM_HUB = {
  training_sync({ active_ais }) {
    waitMs = 500;
    console.log('joined', active_ais.join(' '));
  },
  query_result({ in_reply_to }) {
    const confirmed = Number(in_reply_to.replace('confirm ', ''));
    unconfirmed = unconfirmed.filter((message) => Number(message.message_id) > confirmed);
  },
  feature_response: develop,
  error({ code, detail }) {
    if (FINAL.includes(code)) fail(`${code}: ${detail}`);
    console.error(`${code}: ${detail}`);
    if (code === 'rate_limited') socket.destroy(); // and send it again after a pause
  },
};

function take({ ok, epoch, log, inbox, offset, sender_id, message_type, payload }) {
  const handle = sender_id === 'hub' && FROM_HUB[message_type];
  if (handle) handle(payload);
  else if (!ok) console.log(sender_id, message_type); // what others say
  since = offset ?? since ?? (epoch ? { epoch, log, inbox } : undefined);
}

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

function checksum(bytes) { // the Internet's, RFC 1071
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i] * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

function develop({ original_request: { feature }, requestor, request_id }) {
  if (!feature.toLowerCase().split(/[ _]/).includes('checksum')) {
    const reason = `${AI} builds checksums alone`;
    return send('feature_response', { request_id, accept: false, reason });
  }
  const component = { id: `${AI}.checksum`, name: feature, implementation: String(checksum) };
  const answer = { component, original_requestor: requestor, feature_name: feature };
  return send('os_component_share', answer, requestor);
}

const packet = new Uint8Array(1500).fill(7);
const startedMs = performance.now();
for (let i = 0; i < 1000; i += 1) checksum(packet);
const seconds = (performance.now() - startedMs) / 1e6; // for one

connect();
send('pattern_share', { pattern: { id: `${AI}.checksum`, type: 'timing', data: { seconds } } });
setInterval(confirm, 1000);
