// Chats, and response messages of ai@4 to append to them.

const user = { id: 'u', role: 'user', content: 'Hi', parts: [{ type: 'text', text: 'Hi' }] };
const assistant = more => ({ id: 'a', role: 'assistant', content: 'Old', kept: 1, ...more });
const invocation = (toolCallId, step) => ({ state: 'call', step, toolCallId, toolName: 'look', args: { x: 1 } });
const call = toolCallId => ({ type: 'tool-call', toolCallId, toolName: 'look', args: { x: 1 } });
const result = toolCallId => ({ id: 'r', role: 'tool', content: [{ type: 'tool-result', toolCallId, toolName: 'look', result: { y: 2 } }] });
const answer = content => ({ id: 'new', role: 'assistant', content });

export const corpus = [
  { name: 'a text', messages: [user], responses: [answer('Hello')] },
  { name: 'nothing', messages: [user], responses: [] },
  { name: 'texts', messages: [user], responses: [answer([{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }])] },
  { name: 'a call and its result', messages: [user], responses: [answer([{ type: 'text', text: 'a' }, call('1'), call('2')]), result('2'), result('1'), answer('There')] },
  { name: 'reasoning', messages: [user], responses: [answer([{ type: 'reasoning', text: 'r', signature: 's' }, { type: 'redacted-reasoning', data: 'd' }, { type: 'reasoning', text: 'q' }, { type: 'text', text: 'a' }, { type: 'redacted-reasoning', data: 'e' }])] },
  { name: 'an empty reasoning', messages: [user], responses: [answer([{ type: 'reasoning', text: '' }])] },
  { name: 'a file', messages: [user], responses: [answer([{ type: 'file', mimeType: 'image/png', data: 'AA==' }])] },
  { name: 'onto an answer', messages: [user, assistant({ parts: [{ type: 'text', text: 'Old' }], reasoning: 'r', toolInvocations: [invocation('0', 3)] })], responses: [result('0'), answer([call('1')])] },
  { name: 'onto an answer without parts', messages: [user, assistant({})], responses: [answer([call('1')]), result('1')] },
  { name: 'onto an answer without calls', messages: [user, assistant({ toolInvocations: [], parts: [] })], responses: [answer([call('1')])] },
  { name: 'a result without a part', messages: [user, assistant({ toolInvocations: [invocation('0', 0)] })], responses: [result('0')] },
  { name: 'a result without a call', messages: [user, assistant({})], responses: [result('0')] },
  { name: 'a result after a question', messages: [user], responses: [result('0')] },
  { name: 'a response to nothing', messages: [], responses: [answer('x')] },
  { name: 'a response of the user', messages: [user], responses: [user] },
];
