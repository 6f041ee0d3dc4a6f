// Asks other implementations about wire formats, and writes their answers beside this file.
//
//     npm ci && node make_wire.mjs
//
// - `event_streams.json`: what eventsource-parser, which the AI SDK uses, reads in messy event streams.
// - `chunks.json`: whether the schemas of ai@5 to ai@7 accept chunks; each is a good one with one field changed.
// - `translated.json`: what `callChatApi` of @ai-sdk/ui-utils (ai@4) makes of lines that we translated. The lines come
//   from `python -m tests.protocols.translated`, which has to be run first, and writes them into that file.

import { readFileSync, writeFileSync } from 'node:fs';
import { createParser } from 'eventsource-parser';
import * as ai5 from 'ai5';
import * as ai6 from 'ai6';
import * as ai7 from 'ai7';
import * as utils4 from '@ai-sdk/ui-utils';
import { makeRandom } from './random.mjs';

const MAJORS = { 5: ai5, 6: ai6, 7: ai7 };
const file = name => new URL(`${name}.json`, import.meta.url);

function write(name, cases, about) {
  writeFileSync(file(name), `{"packages": ${JSON.stringify(about)}, "cases": [\n${cases.map(made => JSON.stringify(made)).join(',\n')}\n]}\n`);
  console.log(`${name}.json: ${cases.length} cases`);
}

function readEvents(text) {
  const events = [];
  createParser({ onEvent: ({ event, data }) => events.push({ event, data }) }).feed(text);
  return { text, events };
}

function eventStreams() {
  const random = makeRandom(20261120);
  const words = ['data', 'id', 'event', ':', ': ', ' ', '\n', '\r\n', '\n\n', 'x', 'ä', '7', 'data: x\n', 'event: e\n', 'id: 1\n'];
  const texts = Array.from({ length: 150 }, () => Array.from({ length: 30 }, () => random.pick(words)).join(''));
  return texts.map(text => `${text}\n\n`).map(readEvents);
}

const metadata = { p: { a: 1 } };
const tool = { toolCallId: 'c', providerExecuted: true, providerMetadata: metadata, toolMetadata: {}, dynamic: false };
const input = { ...tool, toolName: 'n', input: 1, title: 't' };
const citation = { source: { type: 'source', sourceType: 'url', id: 's', url: 'u', title: 't' }, startIndex: 0, endIndex: 2, citedText: 'x' };
const documented = { source: { type: 'source', sourceType: 'document', id: 's', mediaType: 'm', title: 't', filename: 'f' } };
const good = [
  { type: 'text-start', id: 'a', providerMetadata: metadata }, { type: 'text-delta', id: 'a', delta: 'x', providerMetadata: metadata },
  { type: 'text-end', id: 'a', citations: [citation, documented], providerMetadata: metadata },
  { type: 'reasoning-start', id: 'a', providerMetadata: metadata }, { type: 'reasoning-delta', id: 'a', delta: 'x', providerMetadata: metadata },
  { type: 'reasoning-end', id: 'a', providerMetadata: metadata },
  { type: 'tool-input-start', ...input, inputEncoding: 'text' }, { type: 'tool-input-delta', toolCallId: 'c', inputTextDelta: '{' },
  { type: 'tool-input-available', ...input }, { type: 'tool-input-error', ...input, errorText: 'e' },
  { type: 'tool-approval-request', approvalId: 'p', toolCallId: 'c', approvalDescriptor: 1, inputSchemaInput: 1, reason: 'r', isAutomatic: true, signature: 's' },
  { type: 'tool-approval-response', approvalId: 'p', approved: true, reason: 'r', providerExecuted: true, providerMetadata: metadata },
  { type: 'tool-output-available', ...tool, output: 1, preliminary: true }, { type: 'tool-output-error', ...tool, errorText: 'e' },
  { type: 'tool-output-denied', toolCallId: 'c' },
  { type: 'source-url', sourceId: 's', url: 'u', title: 't', providerMetadata: metadata },
  { type: 'source-document', sourceId: 's', mediaType: 'm', title: 't', filename: 'f', providerMetadata: metadata },
  { type: 'file', url: 'u', mediaType: 'm', providerMetadata: metadata }, { type: 'reasoning-file', url: 'u', mediaType: 'm', providerMetadata: metadata },
  { type: 'custom', kind: 'p.k', providerMetadata: metadata },
  { type: 'steering-message', id: 'a', parts: [{ type: 'text', text: 'x' }, { type: 'file', mediaType: 'm', url: 'u', filename: 'f', providerReference: { p: 'r' } }] },
  { type: 'data-x', id: 'a', data: 1, transient: true }, { type: 'start', messageId: 'm', messageMetadata: {} }, { type: 'start-step' },
  { type: 'finish-step' }, { type: 'reset-step' }, { type: 'message-metadata', messageMetadata: 1 }, { type: 'error', errorText: 'e' },
  { type: 'abort', reason: 'r' }, { type: 'finish', finishReason: 'stop', messageMetadata: 1 }, { type: 'unknown' }, { type: 'tool-x' }, { type: 'data-' },
  ...['length', 'content-filter', 'tool-calls', 'error', 'other', 'unknown', 'interrupted', 'x'].map(finishReason => ({ type: 'finish', finishReason })),
];
const odd = [null, 'x', '', 7, true, [], {}, [{}], { p: 1 }, { p: {} }, ['x'], [{ type: 'text' }], [{ type: 'file', mediaType: 'm' }], [{ source: {} }],
  [{ type: 'text', text: 'x', providerMetadata: 1 }], [{ type: 'other', text: 'x', mediaType: 'm', url: 'u' }], [{ source: { type: 'source', sourceType: 'url', id: 's' } }],
  [{ ...citation, startIndex: -1 }], [{ ...citation, startIndex: 0.5 }], [{ ...citation, endIndex: 1 }], [{ ...documented, citedText: 1 }]];

function changed(chunk) {
  const made = [chunk, { ...chunk, more: 1 }];
  for (const key of Object.keys(chunk).filter(name => name !== 'type')) {
    const { [key]: _, ...rest } = chunk;
    made.push(rest, ...odd.map(value => ({ ...chunk, [key]: value })));
  }
  return made;
}

async function judge(chunk) {
  const accepted = [];
  for (const [major, sdk] of Object.entries(MAJORS)) {
    const schema = sdk.uiMessageChunkSchema();
    if ((await schema.validate(chunk)).success) accepted.push(Number(major));
  }
  return { chunk, accepted };
}

async function fold({ name, lines }) {
  let answer = null;
  await utils4.callChatApi({
    api: 'http://localhost', body: {}, fetch: async () => new Response(lines), generateId: () => 'made',
    restoreMessagesOnFailure() {}, onUpdate() {},
    onFinish(made, { finishReason }) {
      const { createdAt, ...message } = made;
      answer = { message: JSON.parse(JSON.stringify(message)), finishReason };
    },
  });
  return { name, lines, answer };
}

write('event_streams', eventStreams(), { 'eventsource-parser': JSON.parse(readFileSync(new URL('node_modules/eventsource-parser/package.json', import.meta.url))).version });
const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)));
write('chunks', await Promise.all(good.flatMap(changed).map(judge)), { 5: dependencies.ai5, 6: dependencies.ai6, 7: dependencies.ai7 });
const translated = JSON.parse(readFileSync(file('translated'), 'utf8')).cases;
const folded = [];
for (const made of translated) folded.push(await fold(made));
write('translated', folded, { 4: `npm:@ai-sdk/ui-utils@${dependencies['@ai-sdk/ui-utils']} of ${dependencies.ai4}` });
