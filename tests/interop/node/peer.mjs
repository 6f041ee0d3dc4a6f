// A service that uses the npm package resumable-stream, told by lines of JSON what to do, and answering likewise.
// node peer.mjs '{"entry": "resumable-stream" or "resumable-stream/ioredis", "keyPrefix", "watchdog"}', with REDIS_URL
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { entry, keyPrefix, watchdog } = JSON.parse(process.argv[2]);
const { createResumableStreamContext } = createRequire(import.meta.url)(entry);
const context = createResumableStreamContext({ waitUntil: null, keyPrefix, doneWatchdogIntervalMs: watchdog });

const sources = new Map(); // of streams that are published here
const say = (words) => process.stdout.write(`${JSON.stringify(words)}\n`);

function source(id) {
  return () =>
    new ReadableStream({
      start(controller) {
        sources.set(id, controller);
      },
    });
}

function kindOf(stream) {
  return stream === null || stream === undefined ? String(stream) : "stream";
}

async function drain(stream) {
  for await (const _ of stream);
}

// For who measures: how much it was is told at the end.
async function count(listener, stream) {
  let length = 0;
  let pieces = 0;
  for await (const piece of stream) {
    length += piece.length;
    pieces += 1;
  }
  say({ listener, length, pieces, end: "end" });
}

// Text arrives faster than lines are worth writing: what is there at once is one event.
async function tell(listener, stream) {
  let text = "";
  let pieces = 0;
  let longest = 0;
  let timer;
  const flush = () => {
    timer = undefined;
    say({ listener, text, pieces, longest });
    text = "";
    pieces = longest = 0;
  };
  try {
    for await (const piece of stream) {
      text += piece;
      pieces += 1;
      longest = Math.max(longest, piece.length);
      timer ??= setImmediate(flush);
    }
    clearImmediate(timer);
    flush();
    say({ listener, end: "end" });
  } catch (error) {
    say({ listener, end: String(error) });
  }
}

const commands = {
  // Become the publisher of a stream whose text is pushed by the commands below.
  async publish({ id, create }) {
    const make = source(id);
    const stream = await (create ? context.createNewResumableStream(id, make) : context.resumableStream(id, make));
    void drain(stream);
    return kindOf(stream);
  },
  push({ id, chunks }) {
    for (const chunk of chunks) sources.get(id).enqueue(chunk);
  },
  pushMany({ id, count, width }) {
    for (let index = 0; index < count; index += 1) sources.get(id).enqueue(String(index).padStart(width, "0"));
  },
  end({ id }) {
    sources.get(id).close();
  },
  // Follow a stream, and tell what comes under the name of the listener.
  async follow({ id, listener, skip, verb, quietly }) {
    const neverMade = () => {
      throw new Error("made");
    };
    const stream = await (verb === "resumableStream"
      ? context.resumableStream(id, neverMade, skip)
      : context.resumeExistingStream(id, skip));
    if (kindOf(stream) === "stream") void (quietly ? count : tell)(listener, stream);
    return kindOf(stream);
  },
  // As a page that goes away does.
  async glance({ id }) {
    const stream = await context.resumeExistingStream(id);
    const reader = stream.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return value;
  },
  has({ id }) {
    return context.hasExistingStream(id);
  },
};

process.on("unhandledRejection", () => {}); // the package leaves some: what it throws is told in the answer, too
for await (const line of createInterface({ input: process.stdin })) {
  const { call, todo, ...words } = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[todo](words))
    .then(
      (result) => say({ call, result: result ?? null }),
      (error) => say({ call, error: String(error) }),
    );
}
process.exit();
