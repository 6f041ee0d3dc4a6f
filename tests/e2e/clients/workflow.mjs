// Has an answer with the transport of the package @workflow/ai, and prints what came of it as JSON.
// node workflow.mjs '{"site", "chat", "shape", "question" or "stream", "startIndex", "maxErrors"}'
import { WorkflowChatTransport } from "@workflow/ai";

const { site, chat, shape, question, stream, startIndex, maxErrors } = JSON.parse(process.argv[2]);
console.error = () => {}; // where it says each time that a connection broke
let run = stream;
const nested = {
  prepareSendMessagesRequest: ({ messages }) => ({
    api: `${site}/api/chats/${chat}/messages`,
    headers: { "content-type": "application/json" },
    body: { message: messages.at(-1) },
  }),
  prepareReconnectToStreamRequest: () => ({ api: `${site}/api/chats/${chat}/messages/${run}/stream` }),
};
const ends = [];
const transport = new WorkflowChatTransport({
  api: `${site}/api/chat`,
  ...(shape === "nested" ? nested : {}),
  initialStartIndex: startIndex,
  maxConsecutiveErrors: maxErrors,
  onChatSendMessage: (response) => {
    run = response.headers.get("x-workflow-run-id");
  },
  onChatEnd: (end) => void ends.push(end),
});
const message = { id: "question", role: "user", parts: [{ type: "text", text: question }] };
const answer =
  question === undefined
    ? await transport.reconnectToStream({ chatId: chat })
    : await transport.sendMessages({
        chatId: chat,
        messages: [message],
        trigger: "submit-message",
        body: { id: chat },
      });
const chunks = [];
for await (const chunk of answer) {
  chunks.push(chunk);
}
process.stdout.write(JSON.stringify({ chunks, ends, run }));
