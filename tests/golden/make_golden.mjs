// Asks the AI SDK what becomes of streams of chunks, and writes its answers beside this file.
//
//     npm ci && node make_golden.mjs
//
// The majors 5 to 7 are asked by the way that `useChat` takes: a chat (`AbstractChat`) whose transport is a list of
// chunks, or, where a stream is marked `http`, the default transport with a `fetch` of ours. The answer is the message
// that `onFinish` is given. Major 4 is asked by `callChatApi` of @ai-sdk/ui-utils, likewise. Input of tools that breaks
// off goes to `parsePartialJson`, and chats to `appendClientMessage` and `appendResponseMessages` of ai@4.
//
// Streams are fed chunk by chunk. One that ends in an error is noted (`errors` has its index) and left out of what
// follows, so each of the others is asked about in the state that it would meet if the stream had been in order.
// `prefixes` has the message before the first chunk, and after each one; chunks that are errors repeat it.
//
// An answer is shared by all majors that give the same one.

import { readFileSync, writeFileSync } from 'node:fs';
import { appendClientMessage, appendResponseMessages } from 'ai4';
import * as ai5 from 'ai5';
import * as ai6 from 'ai6';
import * as ai7 from 'ai7';
import * as utils4 from '@ai-sdk/ui-utils';
import { corpus as appendCorpus } from './append_corpus.mjs';
import { corpus } from './corpus.mjs';
import { corpus as dataStreamCorpus } from './data_stream_corpus.mjs';
import { brokenJson, dataStream, makeRandom, uiStream } from './random.mjs';

const SEED = 20261120;
const MAJORS = { 5: ai5, 6: ai6, 7: ai7 };
const MESSAGE_ID = 'made';
const packages = JSON.parse(readFileSync(new URL('package.json', import.meta.url))).dependencies;
const plain = value => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));

function makeState(messages) {
  return {
    status: 'ready',
    error: undefined,
    messages,
    pushMessage(message) { this.messages = [...this.messages, message]; },
    popMessage() { this.messages = this.messages.slice(0, -1); },
    replaceMessage(index, message) { this.messages = this.messages.with(index, message); },
    snapshot: value => structuredClone(value),
  };
}

function streamOf(chunks) {
  return new ReadableStream({
    start(controller) {
      chunks.forEach(chunk => controller.enqueue(structuredClone(chunk)));
      controller.close();
    },
  });
}

function transportOf(sdk, chunks, isHttp) {
  if (!isHttp) return { sendMessages: async () => streamOf(chunks), reconnectToStream: async () => streamOf(chunks) };
  const body = chunks.map(chunk => `data: ${JSON.stringify(chunk)}\n\n`).join('') + 'data: [DONE]\n\n';
  return new sdk.DefaultChatTransport({ fetch: async () => new Response(body) });
}

async function askChat(sdk, { message, resume, http }, chunks) {
  let answer;
  class Chat extends sdk.AbstractChat {}
  const state = makeState([{ id: 'question', role: 'user', parts: [] }, ...(message ? [structuredClone(message)] : [])]);
  const chat = new Chat({
    state,
    generateId: () => MESSAGE_ID,
    transport: transportOf(sdk, chunks, http),
    onFinish: ({ message: made, finishReason }) => { answer = { message: plain(made), finishReason }; },
    onError: () => {},
  });
  await (resume ? chat.resumeStream() : chat.sendMessage());
  return state.status === 'error' ? undefined : answer;
}

async function askVersion4({ message }, chunks) {
  let answer;
  let data = [];
  const body = chunks.map(([code, value]) => `${code}:${JSON.stringify(value)}\n`).join('');
  try {
    await utils4.callChatApi({
      api: 'http://localhost',
      body: {},
      fetch: async () => new Response(body === '' ? new ReadableStream({ start: stream => stream.close() }) : body),
      generateId: () => MESSAGE_ID,
      lastMessage: structuredClone(message),
      restoreMessagesOnFailure() {},
      onUpdate: update => { data = update.data; },
      onFinish(made, { usage, finishReason }) {
        const { createdAt, ...rest } = made;
        answer = { message: plain(rest), finishReason, usage: plain(usage), data: plain(data) };
      },
    });
  } catch {
    return undefined;
  }
  return answer;
}

async function feed(ask, stream) {
  const accepted = [];
  const errors = [];
  let answer = await ask(stream, accepted);
  const prefixes = [answer.message];
  for (const [index, chunk] of stream.chunks.entries()) {
    const next = await ask(stream, [...accepted, chunk]);
    if (next === undefined) errors.push(index);
    else {
      accepted.push(chunk);
      answer = next;
    }
    prefixes.push(answer.message);
  }
  return { ...answer, errors, ...(stream.prefixes ? { prefixes } : {}) };
}

function share(answers) {
  const shared = new Map();
  for (const [major, answer] of Object.entries(answers)) {
    const key = JSON.stringify(answer);
    if (!shared.has(key)) shared.set(key, { sdk: [], ...answer });
    shared.get(key).sdk.push(Number(major));
  }
  return [...shared.values()];
}

async function askAll(stream) {
  const answers = {};
  for (const major of stream.sdk ?? [5, 6, 7]) {
    answers[major] = await feed((asked, chunks) => askChat(MAJORS[major], asked, chunks), stream);
  }
  const { sdk, prefixes, ...asked } = stream;
  return { ...asked, answers: share(answers) };
}

async function askAllOfVersion4(stream) {
  const { prefixes, ...asked } = stream;
  return { ...asked, answers: share({ 4: await feed(askVersion4, stream) }) };
}

async function read(text) {
  const answers = {};
  for (const [major, sdk] of Object.entries({ 4: utils4, ...MAJORS })) {
    const { value } = await sdk.parsePartialJson(text);
    answers[major] = value === undefined ? {} : { value };
  }
  return { text, answers: share(answers) };
}

function append({ name, messages, responses }) {
  const _internal = { currentDate: () => new Date(0) };
  let made = null;
  try {
    made = plain(appendResponseMessages({ messages, responseMessages: responses.map(({ parts, ...rest }) => rest), _internal }));
  } catch {}
  const sent = responses.at(-1);
  return { name, messages, responses, made, sent: sent && plain(appendClientMessage({ messages, message: sent })) };
}

function jsonTexts(random) {
  const texts = [
    '{"a": [1, {"b": "c\\u00e4\\n\\"q\\\\"}, true, null, -1.5e2], "d\\"e": {"f": "😀\\ud83d\\ude00", "g": []}, "h": false}',
    '[[], {}, [[1], 2], "x", {"a": {"b": [{"c": 0}]}}] tail',
    ' \n\t{ "a" : 1 , "b" : [ 1 , 2 ] , "c" : { } } ',
    '"a \\u12g4 b\\x"', '[truefalse, nulll]', '{"a":1 x "b":2}', '[1 2, "a" "b"]', '{"a": tru, "b": 1}', '[-, 1]', '[1e, 2]',
  ];
  const whole = [
    'NaN', '[Infinity]', '-Infinity', '[NaN', '1e400', '-1e400', '[1E+2]', '-0', '-0.0', '1.0', '01', '.5', '5.', '12345678901234567890',
    '9007199254740993', '1e21', '1.7976931348623157e308', '{"a": 1, "a": 2}', '{"__proto__": 1}', '{"a": [{"__proto__": 1}]}',
    '{"\\u005f_proto__": 1}', '{"constructor": null}', '{"constructor": 1}', '{"constructor": {"prototype": 1}}', '{"constructor": {"prototyp',
    '{"constructor": {"a": 1}}', '{"constructor": [1]}', '["__proto__"]', '"__proto__"', '\ufeff{"a": 1}', '\ufeff{"a": [1', '"\u0001"', '"a\tb"', '"\u007f\u2028"', '"\ud83d"',
    '"\\ud83d"', '"\\ud83d\\ud83d\\ude00"', '', ' ', '\u00a01', '{"a": 1}}', '[1]]', '{]', '[}', '{"a" 1}', "{'a': 1}", '[1,]', '{"a":1,}', '// x', 'tRue',
    '[1e999, {"a": -1e999}]', '"\\u00e4\\u00', '{"a\\u00', '{"\\ud83d', '[٣]', '"\\u٠٠٠٠"',
  ];
  const prefixes = texts.flatMap(text => Array.from({ length: text.length + 1 }, (_, end) => text.slice(0, end)));
  return [...new Set([...prefixes, ...whole, ...Array.from({ length: 600 }, () => brokenJson(random))])];
}

async function write(name, of, cases) {
  const lines = [];
  for (const made of cases) lines.push(JSON.stringify(await made));
  const text = `{"packages": ${JSON.stringify(of)}, "cases": [\n${lines.join(',\n')}\n]}\n`;
  writeFileSync(new URL(`${name}.json`, import.meta.url), text);
  console.log(`${name}.json: ${lines.length} cases, ${text.length} characters`);
}

async function main() {
  const ui = { 5: packages.ai5, 6: packages.ai6, 7: packages.ai7 };
  const version4 = { 4: `npm:@ai-sdk/ui-utils@${packages['@ai-sdk/ui-utils']} of ${packages.ai4}` };
  const random = makeRandom(SEED);
  const uiStreams = Array.from({ length: 500 }, () => uiStream(random));
  const dataStreams = Array.from({ length: 250 }, () => dataStream(random));
  await write('ui_messages', ui, corpus.map(askAll));
  await write('data_stream', version4, dataStreamCorpus.map(askAllOfVersion4));
  await write('ui_messages_random', ui, uiStreams.map(askAll));
  await write('data_stream_random', version4, dataStreams.map(askAllOfVersion4));
  await write('append', { 4: packages.ai4 }, appendCorpus.map(append));
  await write('partial_json', { ...version4, ...ui }, jsonTexts(random).map(read));
}

await main();
