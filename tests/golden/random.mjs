// Random streams from a seed: mostly what a server would send, now and then what it should not.

export function makeRandom(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = count => Math.floor(next() * count);
  return { next, below, pick: values => values[below(values.length)], chance: share => next() < share };
}

const VALUES = [null, 0, -1.5, 'x', 'ü😀', '', true, false, [], {}, [1, { a: null }], { a: { b: [2] } }, { a: 1, c: 'd' }];
const INPUT = '{"a": [1, {"b": "c\\u00e4\\n"}, true, null, -1.5e2], "d": {"e": "😀", "f": []}}';

export function uiStream(random) {
  const { pick, chance, below } = random;
  const maybe = fields => Object.fromEntries(Object.entries(fields).filter(() => chance(0.15)));
  const id = () => pick(['a', 'a', 'b']);
  const call = () => pick(['c', 'c', 'd']);
  const more = () => maybe({ providerMetadata: pick([{ p: { n: below(9) } }, { q: {} }, null]) });
  const details = () => ({ ...more(), ...maybe({ providerExecuted: chance(0.5), title: pick(['T', 'U']), toolMetadata: { m: below(9) } }), ...(chance(0.3) ? { dynamic: true } : {}) });
  const piece = () => {
    const from = below(INPUT.length);
    return chance(0.5) ? INPUT.slice(0, from) : INPUT.slice(from, from + 1 + below(20));
  };
  const makers = [
    () => ({ type: 'text-start', id: id(), ...more() }),
    () => ({ type: 'text-delta', id: id(), delta: pick(['Hel', 'lo ', 'wörld', '😀', '']), ...more() }),
    () => ({ type: 'text-end', id: id(), ...more(), ...maybe({ citations: [{ n: below(9) }] }) }),
    () => ({ type: 'reasoning-start', id: id(), ...more() }),
    () => ({ type: 'reasoning-delta', id: id(), delta: pick(['so ', 'then']), ...more() }),
    () => ({ type: 'reasoning-end', id: id(), ...more() }),
    () => ({ type: 'tool-input-start', toolCallId: call(), toolName: pick(['look', 'find']), ...details(), ...maybe({ inputEncoding: pick(['text', 'json', null]) }) }),
    () => ({ type: 'tool-input-delta', toolCallId: call(), inputTextDelta: piece() }),
    () => ({ type: 'tool-input-delta', toolCallId: call(), inputTextDelta: piece() }),
    () => ({ type: 'tool-input-available', toolCallId: call(), toolName: pick(['look', 'find']), input: pick(VALUES), ...details() }),
    () => ({ type: 'tool-input-error', toolCallId: call(), toolName: 'look', input: pick(VALUES), errorText: 'bad', ...details() }),
    () => ({ type: 'tool-output-available', toolCallId: call(), output: pick(VALUES), ...maybe({ preliminary: true }), ...details() }),
    () => ({ type: 'tool-output-error', toolCallId: call(), errorText: 'no', ...details() }),
    () => ({ type: 'tool-output-denied', toolCallId: call() }),
    () => ({ type: 'tool-approval-request', toolCallId: call(), approvalId: pick(['p', 'q']), ...maybe({ reason: 'why', signature: 's', isAutomatic: true, approvalDescriptor: pick(VALUES), inputSchemaInput: pick(VALUES) }) }),
    () => ({ type: 'tool-approval-response', approvalId: pick(['p', 'q']), approved: chance(0.5), ...more(), ...maybe({ reason: 'ok', providerExecuted: true }) }),
    () => ({ type: `data-${pick(['x', 'y'])}`, data: pick(VALUES), ...(chance(0.6) ? { id: pick(['1', '2']) } : {}), ...maybe({ transient: chance(0.5) }) }),
    () => ({ type: 'file', url: 'u', mediaType: 'm', ...more() }),
    () => ({ type: 'source-url', sourceId: 's', url: 'u', ...more(), ...maybe({ title: 'T' }) }),
    () => ({ type: 'message-metadata', messageMetadata: pick(VALUES) }),
    () => ({ type: pick(['start', 'finish']), ...maybe({ messageId: pick(['m', 'n']), messageMetadata: pick(VALUES), finishReason: pick(['stop', 'length']) }) }),
    () => ({ type: 'start-step' }),
    () => ({ type: 'finish-step' }),
    () => ({ type: pick(['reset-step', 'custom', 'abort', 'unknown']), kind: 'p.x' }),
  ];
  return { chunks: Array.from({ length: 4 + below(14) }, () => pick(makers)()), ...(chance(0.2) ? { resume: true } : {}) };
}

export function dataStream(random) {
  const { pick, chance, below } = random;
  const call = () => pick(['c', 'c', 'd']);
  const makers = [
    () => ['0', pick(['Hel', 'lo ', 'wörld', '😀', ''])],
    () => ['0', pick(['Hel', 'lo '])],
    () => ['g', pick(['so ', 'then'])],
    () => ['i', { data: 'hidden' }],
    () => ['j', { signature: 's' }],
    () => ['2', [pick(VALUES)]],
    () => ['8', chance(0.2) ? [] : [pick(VALUES)]],
    () => ['9', { toolCallId: call(), toolName: 'look', args: pick([{ a: 1 }, [], null]), ...(chance(0.2) ? { extra: 1 } : {}) }],
    () => ['a', { toolCallId: call(), result: pick(VALUES) }],
    () => ['b', { toolCallId: call(), toolName: pick(['look', 'find']) }],
    () => ['c', { toolCallId: call(), argsTextDelta: INPUT.slice(0, below(INPUT.length)) }],
    () => ['c', { toolCallId: call(), argsTextDelta: INPUT.slice(below(INPUT.length)) }],
    () => ['d', { finishReason: 'stop', ...(chance(0.5) ? { usage: { promptTokens: pick([1, null]), completionTokens: 2 } } : {}) }],
    () => ['e', { finishReason: 'stop', ...(chance(0.5) ? { isContinued: chance(0.5) } : {}) }],
    () => ['f', { messageId: pick(['m', 'n']) }],
    () => ['h', { sourceType: 'url', id: 's', url: 'u' }],
    () => ['k', { data: 'AA==', mimeType: 'image/png' }],
  ];
  return { chunks: Array.from({ length: 4 + below(12) }, () => pick(makers)()) };
}

export function brokenJson(random) {
  const { pick, below } = random;
  const alphabet = ['{', '}', '[', ']', '"', '"', ',', ':', '\\', 'u', 't', 'true', 'f', 'n', 'nul', '1', '0', '-', '.', 'e', '+', ' ', '\n', 'a', '"a":', '\\u00e', 'x'];
  return Array.from({ length: 1 + below(12) }, () => pick(alphabet)).join('');
}
