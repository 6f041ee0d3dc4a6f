// The inspector's page: asks once a second while it is seen, and shows what it is told. What comes from streams is set as
// text, never as markup.
'use strict';

const PERIOD = 1000; // ms between two questions
const TIMEOUT = 10000;
const ROOM = { left: 8, right: 8, top: 18, bottom: 20, marks: 16 }; // of the picture, in px
const KINDS = ['running', 'done', 'failed', 'stopped', 'lost', 'tombstone'];
const COLUMNS = ['State', 'Chunks', 'Chunks/s', 'Readers', 'Age', 'Lease left'];

const by = (id) => document.getElementById(id);
const rows = new Map(); // the rows of the table, by stream id
const shown = { kind: '', find: '', id: '', detail: null };
let asking = null; // the controller of the questions that are under way
let timer = 0;

// --- Words ---

function span(seconds) {
  if (seconds < 0.0005) return '0 s';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${+seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const units = [[86400, 'd', 3600, 'h'], [3600, 'h', 60, 'min'], [60, 'min', 1, 's']];
  const [size, name, smaller, smallerName] = units.find(([unit]) => seconds >= unit);
  return `${Math.floor(seconds / size)} ${name} ${Math.floor((seconds % size) / smaller)} ${smallerName}`;
}

const count = (number) => number.toLocaleString('en');
const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Questions ---

async function ask(path, options = {}) {
  const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(TIMEOUT)]);
  const response = await fetch(path, { credentials: 'same-origin', ...options, signal });
  if (response.ok) return response.json();
  const told = await response.json().catch(() => null);
  throw Object.assign(new Error(told?.error?.message || `HTTP ${response.status}`), { status: response.status });
}

async function look() {
  clearTimeout(timer);
  asking?.abort();
  if (document.hidden) return;
  const mine = (asking = new AbortController());
  try {
    const query = new URLSearchParams({ state: shown.kind, contains: shown.find });
    const id = shown.id;
    const [list, detail] = await Promise.all([ask(`streams?${query}`), id && lookAt(id)]);
    if (mine !== asking) return;
    by('status').className = '';
    say(by('status'), `live, ${many(list.counts.running, 'running stream')}`);
    showList(list);
    if (id && id === shown.id) {
      const row = list.streams.find((stream) => stream.id === id);
      if (row && detail.stream) detail.stream.rate = row.rate; // of the same moment as in the list
      showDetail(detail);
    }
  } catch (error) {
    if (mine !== asking) return;
    by('status').className = 'bad';
    say(by('status'), error.status ? error.message : 'not connected, trying again');
  }
  timer = setTimeout(look, PERIOD);
}

async function lookAt(id) {
  try {
    return await ask(`streams/${encodeURIComponent(id)}`);
  } catch (error) {
    if (error.status === 404 || error.status === 400) return { problem: error.message };
    throw error;
  }
}

async function act(action, question) {
  const id = shown.id;
  if (!confirm(question)) return;
  say(by('problem'), '');
  try {
    const headers = { 'x-resumable-stream-inspector': '1' };
    await fetch(`streams/${encodeURIComponent(id)}/${action}`, { method: 'POST', credentials: 'same-origin', headers })
      .then(async (response) => {
        if (!response.ok) throw new Error((await response.json()).error.message);
      });
    if (action === 'delete') open('');
  } catch (error) {
    say(by('problem'), `Could not ${action} it: ${error.message}`);
  }
  look();
}

// --- The list ---

function showStates(counts) {
  const states = by('states');
  if (!states.children.length) {
    for (const kind of ['', ...KINDS]) {
      const button = make('button', { type: 'button' });
      button.dataset.kind = kind;
      button.addEventListener('click', () => { shown.kind = kind; showStates(counts); look(); });
      states.append(button);
    }
  }
  const all = KINDS.reduce((sum, kind) => sum + counts[kind], 0);
  for (const button of states.children) {
    const kind = button.dataset.kind;
    say(button, `${kind || 'all'} ${count(kind ? counts[kind] : all)}`);
    button.setAttribute('aria-pressed', String(kind === shown.kind));
  }
}

function newRow(id) {
  const name = make('button', { type: 'button', textContent: id });
  name.addEventListener('click', () => { open(id); look(); });
  const row = make('tr', {}, make('td', {}, name));
  row.setAttribute('role', 'row'); // said aloud, since on a phone the style makes blocks of rows and cells
  for (const label of COLUMNS) {
    const cell = row.insertCell();
    if (label === 'State') cell.append(make('span'));
    else { cell.className = 'number'; cell.dataset.label = label; }
  }
  for (const cell of row.cells) cell.setAttribute('role', 'cell');
  return row;
}

function fillRow(row, stream, now) {
  const [name, state, ...numbers] = row.cells;
  state.firstChild.className = `state ${stream.state}`;
  say(state.firstChild, stream.state);
  const texts = [
    count(stream.length),
    stream.rate === null ? '–' : count(stream.rate),
    count(stream.readers),
    span(Math.max(now - stream.created_at, 0)),
    stream.lease_left === null ? '–' : span(Math.max(stream.lease_left, 0)),
  ];
  texts.forEach((text, at) => say(numbers[at], text));
  row.className = stream.id === shown.id ? 'open' : '';
  name.firstChild.setAttribute('aria-expanded', String(stream.id === shown.id));
}

function showList(list) {
  showStates(list.counts);
  const body = by('rows');
  const focused = document.activeElement;
  const ids = new Set(list.streams.map((stream) => stream.id));
  for (const [id, row] of rows) {
    if (!ids.has(id)) { row.remove(); rows.delete(id); }
  }
  list.streams.forEach((stream, at) => {
    if (!rows.has(stream.id)) rows.set(stream.id, newRow(stream.id));
    const row = rows.get(stream.id);
    if (body.children[at] !== row) body.insertBefore(row, body.children[at] || null);
    fillRow(row, stream, list.now);
  });
  if (focused !== document.activeElement && body.contains(focused)) focused.focus(); // its row was moved
  const hidden = list.found - list.streams.length;
  const told = [];
  if (!list.found) told.push(shown.kind || shown.find ? 'No stream is like this.' : 'There are no streams.');
  if (hidden) told.push(`${count(hidden)} more are not shown.`);
  if (!list.is_complete) told.push('The store has more streams than are looked at.');
  say(by('more'), told.join(' '));
}

// --- One stream ---

function open(id) {
  shown.id = id;
  shown.detail = null;
  by('detail').hidden = !id;
  history.replaceState(null, '', id ? `#${encodeURIComponent(id)}` : location.pathname + location.search);
  for (const [other, row] of rows) {
    row.className = other === id ? 'open' : '';
    row.cells[0].firstChild.setAttribute('aria-expanded', String(other === id));
  }
  if (!id) return;
  say(by('name'), id);
  by('problem').textContent = '';
  shown.problem = undefined;
  for (const part of ['facts', 'picture', 'legend', 'events', 'text']) by(part).replaceChildren();
  by('stop').disabled = by('delete').disabled = true;
  by('name').focus();
}

function showDetail(detail) {
  shown.detail = detail.problem ? null : detail;
  by('stop').disabled = !shown.detail || detail.stream.state !== 'running';
  by('delete').disabled = !shown.detail;
  if (detail.problem || shown.problem) say(by('problem'), detail.problem ?? '');
  shown.problem = detail.problem;
  if (detail.problem) return;
  showFacts(detail);
  draw(detail);
  showText(detail);
}

function showFacts({ stream, now, marks }) {
  const end = stream.ended_at ?? now;
  const facts = [
    ['State', stream.state],
    ['Chunks', count(stream.length)],
    ['In the log', size(marks.reduce((sum, mark) => sum + mark[4], 0))],
    ['Chunks/s', stream.rate === null ? '–' : count(stream.rate)],
    ['Readers in this process', count(stream.readers)],
    ['Began', new Date(stream.created_at * 1000).toLocaleString()],
    [stream.ended_at === null ? 'Runs for' : 'Ran for', span(Math.max(end - stream.created_at, 0))],
    ['Epoch', String(stream.epoch)],
    ['Lease left', stream.lease_left === null ? '–' : span(Math.max(stream.lease_left, 0))],
  ];
  if (stream.reason) facts.push(['Reason', stream.reason]);
  if (stream.error) facts.push(['Error', stream.error]);
  const list = by('facts');
  const names = facts.map(([name]) => name).join();
  if (list.dataset.names !== names || !list.children.length) {
    list.dataset.names = names;
    list.replaceChildren(...facts.map(([name]) => make('div', {}, make('dt', { textContent: name }), make('dd'))));
  }
  facts.forEach(([, value], at) => say(list.children[at].lastChild, value));
}

function showText(detail) {
  const text = by('text');
  const isAtEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
  say(text, detail.text);
  if (isAtEnd) text.scrollTop = text.scrollHeight;
  say(by('text-title'), detail.is_cut ? 'Latest text (the beginning is left out)' : 'Text');
}

// Gaps that stand out: longer than a second, and than those in between are as a rule.
function gapsOf(marks, end, isRunning) {
  const gaps = marks.slice(1).map((mark, at) => ({ from: marks[at][1], to: mark[0], index: mark[2] }));
  const lengths = gaps.map((gap) => gap.to - gap.from).sort((a, b) => a - b);
  const least = Math.max(1, 8 * (lengths[Math.floor(lengths.length / 2)] || 0));
  if (isRunning && marks.length) gaps.push({ from: marks.at(-1)[1], to: end, index: null });
  return gaps.filter((gap) => gap.to - gap.from >= least);
}

function drawn(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function axis(x, start, end, bottom, width) {
  const rough = (end - start) / Math.max(2, Math.min(8, width / 110));
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const parts = [];
  for (let after = 0; start + after <= end; after += step) {
    const at = x(start + after);
    const anchor = at > width - 30 ? 'end' : after === 0 ? 'start' : 'middle';
    parts.push(drawn('line', { class: 'axis', x1: at, x2: at, y1: ROOM.top, y2: bottom }));
    parts.push(drawn('text', { x: at, y: bottom + 14, 'text-anchor': anchor }, span(after)));
  }
  return parts;
}

function draw({ stream, now, marks, takeovers, is_complete: isComplete }) {
  const timed = marks.filter((mark) => mark[0] > 0);
  const picture = by('picture');
  const width = picture.clientWidth, height = picture.clientHeight;
  const start = stream.created_at;
  const end = Math.max(stream.ended_at ?? now, timed.at(-1)?.[1] ?? 0, takeovers.at(-1)?.[2] ?? 0, start + 0.001);
  const bottom = height - ROOM.bottom, ground = bottom - ROOM.marks;
  const x = (at) => ROOM.left + ((at - start) / (end - start)) * (width - ROOM.left - ROOM.right);
  const y = (index) => ground - (index / Math.max(stream.length, 1)) * (ground - ROOM.top);
  const gaps = gapsOf(timed, end, stream.state === 'running');
  const parts = gaps.map((gap) => drawn('rect', {
    class: 'gap', x: x(gap.from), y: ROOM.top, width: Math.max(x(gap.to) - x(gap.from), 1), height: bottom - ROOM.top,
  }));
  parts.push(...axis(x, start, end, bottom, width));
  let path = `M${x(start)} ${y(0)}`;
  for (const [first, last, index, chunks] of timed) path += `L${x(first)} ${y(index)}L${x(last)} ${y(index + chunks)}`;
  path += `H${timed.length ? x(Math.max(timed.at(-1)[1], end)) : x(end)}`;
  parts.push(drawn('path', { class: 'area', d: `${path}V${ground}H${x(start)}Z` }));
  parts.push(drawn('path', { class: 'curve', d: path }));
  for (const [first, last] of timed) {
    const wide = Math.max(x(last) - x(first), 1.5);
    parts.push(drawn('rect', { class: 'mark', x: x(first) - 0.75, y: ground + 4, width: wide, height: ROOM.marks - 5 }));
  }
  for (const [epoch, , at] of takeovers) {
    const isRight = x(at) > width - 70;
    parts.push(drawn('line', { class: 'takeover', x1: x(at), x2: x(at), y1: ROOM.top - 4, y2: bottom }));
    parts.push(drawn('text', {
      class: 'takeover-name', x: x(at) + (isRight ? -4 : 4), y: ROOM.top - 6, 'text-anchor': isRight ? 'end' : 'start',
    }, `epoch ${epoch}`));
  }
  picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
  picture.replaceChildren(...parts);
  legend(stream, timed, marks, isComplete);
  events(start, gaps, takeovers);
}

function legend(stream, timed, marks, isComplete) {
  const entries = marks.reduce((sum, mark) => sum + mark[5], 0);
  let text = `Chunks over time: the curve is how many were logged, each tick below is when some came (${many(entries, 'entry', 'entries')} in all).`;
  if (timed.length < marks.length) text += ' Of some it is not known when they came.';
  if (!isComplete) text += ' The log is still being read.';
  say(by('legend'), text);
}

function events(start, gaps, takeovers) {
  const told = takeovers.map(([epoch, length, at]) =>
    [at, `After ${span(at - start)}: taken over in epoch ${epoch}, with ${many(length, 'chunk')} logged`]);
  const longest = [...gaps].sort((a, b) => b.to - b.from - (a.to - a.from)).slice(0, 5);
  for (const { from, to, index } of longest) {
    const until = index === null ? 'until now' : `before chunk ${count(index)}`;
    told.push([from, `After ${span(from - start)}: nothing for ${span(to - from)}, ${until}`]);
  }
  told.sort((a, b) => a[0] - b[0]);
  const list = by('events');
  while (list.children.length > told.length) list.lastChild.remove();
  while (list.children.length < told.length) list.append(make('li'));
  told.forEach(([, text], at) => say(list.children[at], text));
}

// --- Begin ---

by('find').addEventListener('input', (event) => { shown.find = event.target.value; look(); });
by('close').addEventListener('click', () => {
  const row = rows.get(shown.id);
  open('');
  row?.cells[0].firstChild.focus();
});
by('stop').addEventListener('click', () => act('stop', `Stop stream ${shown.id}? What it has made is kept.`));
by('delete').addEventListener('click', () => act('delete', `Delete stream ${shown.id}, with all its chunks?`));
document.addEventListener('visibilitychange', look);
addEventListener('resize', () => shown.detail && draw(shown.detail));
const idInHash = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ''; } };
addEventListener('hashchange', () => { if (idInHash() !== shown.id) { open(idInHash()); look(); } });
open(idInHash());
look();
