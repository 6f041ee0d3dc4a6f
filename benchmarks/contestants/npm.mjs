// The program of npm's `resumable-stream`, with either client, and of a source by itself: the twin of serve.py.
//
// Called with the URL of the server, the folder whose node_modules has the package, and "redis", "ioredis" or "source".

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const STAMP_LENGTH = 20;
const JOINING_AT_A_TIME = 32;

const [url, folder, kind] = process.argv.slice(2);

// ---------------------------------------------------------------------------------------------- what is published

// A gate that has been opened stays open, so that it does not matter who comes first.
const gates = new Map();

function gate(name, tag) {
  name = `${name} ${tag}`;
  if (!gates.has(name)) {
    let open;
    const opened = new Promise((resolve) => (open = resolve));
    gates.set(name, { opened, open });
  }
  return gates.get(name);
}

const madeChunks = new Map();

function chunksOf(count, size) {
  const key = `${count}/${size}`;
  if (!madeChunks.has(key)) {
    madeChunks.clear();
    madeChunks.set(key, Array.from({ length: count }, (_, number) => String(number).padStart(size, "0").slice(-size)));
  }
  return madeChunks.get(key);
}

const seconds = () => Number(process.hrtime.bigint()) / 1e9;
const stamp = () => String(process.hrtime.bigint()).padStart(STAMP_LENGTH, "0");
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, Math.max(0, time * 1e3)));
const digest = (text) => createHash("sha256").update(text).digest("hex").slice(0, 16);

// One chunk for each pull: the leanest source that there is.
function sourceOf(spec) {
  const { count, size = 20, gap = 0, burst = 1, phase = 0, stamped, gated, waiting, held, tag } = spec;
  const chunks = chunksOf(count, size);
  let number = 0;
  let greeted = !gated;
  let begun = !gated && !waiting;
  let started = gap ? seconds() + phase : 0;

  async function pullSlowly(controller) {
    if (!greeted) {
      await gate("joined", tag).opened;
      greeted = true;
      controller.enqueue("0".repeat(size));
      return;
    }
    if (!begun) {
      await gate("go", tag).opened;
      begun = true;
      started = seconds() + phase;
    }
    if (number === count) {
      if (held) await gate("release", tag).opened;
      controller.close();
      return;
    }
    if (gap && number % burst === 0) {
      await sleep(started + gap * (Math.floor(number / burst) + 1) - seconds());
    }
    controller.enqueue(stamped ? stamp() : chunks[number]);
    number += 1;
  }

  function pull(controller) {
    if (gap || !begun || number === count) return pullSlowly(controller);
    controller.enqueue(chunks[number]);
    number += 1;
  }

  return new ReadableStream({ pull });
}

// ---------------------------------------------------------------------------------------------- the contestant

function contestantOf() {
  if (kind === "source") {
    return { publish: async (_id, make) => make(), follow: async () => { throw new Error("nothing is published"); } };
  }
  process.env.REDIS_URL = url;
  const require = createRequire(`${folder}/`);
  const { createResumableStreamContext } = require(`resumable-stream/${kind}`);
  const context = createResumableStreamContext({ waitUntil: null });
  return {
    publish: (id, make) => context.createNewResumableStream(id, make),
    follow: async (id) => {
      const stream = await context.resumeExistingStream(id);
      if (!stream) throw new Error(`resuming returned ${stream}`);
      return stream;
    },
    connect: () => context.hasExistingStream("none"),
  };
}

const contestant = contestantOf();

// ---------------------------------------------------------------------------------------------- reading

async function read(stream, reading, { isStamped, enough, onFirst }) {
  const reader = stream.getReader();
  reading.cancel = () => reader.cancel().catch(() => {});
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!value) continue; // the first reply to a follower may be empty
    if (!reading.pieces.length) {
      reading.first = seconds();
      reading.pieces.push(value);
      if (isStamped && value.length > STAMP_LENGTH) takeStamps(value.slice(STAMP_LENGTH), reading);
      onFirst();
    } else {
      if (isStamped) takeStamps(value, reading);
      reading.pieces.push(value);
    }
    length += value.length;
    if (enough && length >= enough) break;
  }
  reading.last = seconds();
}

function takeStamps(text, reading) {
  const now = process.hrtime.bigint();
  for (let at = 0; at < text.length; at += STAMP_LENGTH) {
    reading.ages.push(Number(now - BigInt(text.slice(at, at + STAMP_LENGTH))));
  }
}

async function readAll(count, join, say, { reads, isStamped, warmUp, limit, enough = 0, every = 0 }) {
  const readings = Array.from({ length: count }, () => (
    { pieces: [], ages: [], started: 0, first: 0, last: 0, failure: "", over: false }
  ));
  let unjoined = count;
  let unheard = count;
  let places = JOINING_AT_A_TIME;
  const queue = [];
  const take = () => (places > 0 ? (places--, Promise.resolve()) : new Promise((resolve) => queue.push(resolve)));
  const give = () => (queue.length ? queue.shift()() : places++);

  async function readOne(reading, number) {
    let hasJoined = false;
    let hasHeard = false;
    const haveJoined = () => { if (!hasJoined) { hasJoined = true; if (--unjoined === 0) say("joined"); } };
    const haveHeard = () => { if (!hasHeard) { hasHeard = true; if (--unheard === 0) say("first"); } };
    try {
      if (every) await sleep(every * number);
      await take();
      let stream;
      try {
        reading.started = seconds();
        stream = await join(number);
      } finally {
        give();
      }
      haveJoined();
      if (reads) await read(stream, reading, { isStamped, enough, onFirst: haveHeard });
    } catch (error) {
      reading.failure ||= `${error?.name}: ${error?.message}`.slice(0, 200);
    } finally {
      reading.over = true;
      haveJoined();
      haveHeard();
    }
  }

  const tasks = readings.map(readOne);
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, limit * 1e3)));
  await Promise.race([Promise.all(tasks), late]);
  clearTimeout(timer);
  for (const reading of readings) {
    if (!reading.over) {
      reading.failure ||= `no end within ${limit} s`;
      reading.cancel?.();
    }
  }
  return summaryOf(readings, warmUp);
}

function summaryOf(readings, warmUp) {
  const whole = readings.filter((reading) => !reading.failure);
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);
  const failures = {};
  for (const { failure } of readings) if (failure) failures[failure] = (failures[failure] ?? 0) + 1;
  const found = {
    texts: readings.map((reading) => (reading.failure ? null : digest(reading.pieces.join("")))),
    lengths: readings.map((reading) => reading.pieces.reduce((sum, piece) => sum + piece.length, 0)),
    failures,
    first: mean(whole.map((reading) => reading.first - reading.started)),
    all: mean(whole.map((reading) => reading.last - reading.started)),
    started: readings.reduce((least, reading) => Math.min(least, reading.started), Infinity),
    ended: whole.reduce((most, reading) => Math.max(most, reading.last), 0),
  };
  const ages = readings.flatMap((reading) => reading.ages.slice(warmUp)).map((age) => age / 1e6);
  ages.sort((one, other) => one - other);
  if (ages.length) {
    found.ages = { max: ages.at(-1), count: ages.length };
    for (const percent of [50, 90, 99]) found.ages[percent] = ages[Math.floor((ages.length * percent) / 100)];
  }
  return found;
}

// ---------------------------------------------------------------------------------------------- orders

const orders = {
  open_gate: async (_say, { gate: name, tag }) => {
    gate(name, tag).open();
  },

  usage: async () => {
    const { user, system } = process.cpuUsage();
    const pages = Number(readFileSync("/proc/self/statm", "ascii").split(" ")[1]);
    return { cpu: (user + system) / 1e6, resident: pages * 4096 };
  },

  publish: async (say, { streams, source, reads = true, warm_up: warmUp = 20, limit = 120 }) => {
    chunksOf(source.count, source.size ?? 20);
    const started = seconds();
    const publish = (number) => {
      const phase = (source.phase ?? 0) + ((source.gap ?? 0) * number) / streams.length;
      return contestant.publish(streams[number], () => sourceOf({ ...source, phase }));
    };
    const settings = { reads, isStamped: source.stamped, warmUp, limit };
    const found = await readAll(streams.length, publish, say, settings);
    return { ...found, taken: found.ended - started };
  },

  follow: async (say, { streams, stamped = false, every = 0, warm_up: warmUp = 20, enough = 0, limit = 120 }) => {
    const settings = { reads: true, isStamped: stamped, warmUp, limit, enough, every };
    return readAll(streams.length, (number) => contestant.follow(streams[number]), say, settings);
  },
};

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function carryOut({ id, do: name, ...details }) {
  if (name === "close") {
    tell({ id, result: null });
    process.exit(0);
  }
  try {
    if (!orders[name]) throw new Error(`no such order: ${name}`);
    const result = await orders[name]((event) => tell({ id, event }), details);
    tell({ id, result: result ?? null });
  } catch (error) {
    tell({ id, error: `${error?.name}: ${error?.message}`.slice(0, 200) });
  }
}

await contestant.connect?.();
const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.on("line", (line) => void carryOut(JSON.parse(line)));
lines.on("close", () => process.exit(0));
tell({ id: 0, event: "ready" });
