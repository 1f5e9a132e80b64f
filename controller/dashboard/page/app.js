// The dashboard's page. Whatever comes from a node is put in as text, never as markup.
'use strict';

const KEPT = 500;
const SHOWN = 100;
const byId = (id) => document.getElementById(id);
const nodes = new Map();
let rows = [];
let drawing = false;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function facts(pairs) {
  const list = element('dl');
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === '') continue;
    list.append(element('dt', name), element('dd', String(value)));
  }
  return list;
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const told = await answer.json();
  if (answer.status === 401) byId('login').hidden = false;
  if (!answer.ok) throw new Error(told.error || answer.statusText);
  return told;
}

function change(method, path, body) {
  const headers = { 'X-Edgewhisk-Key': byId('key').value, 'Content-Type': 'application/json' };
  return ask(path, { method, headers, body });
}

// One drawing for all that came since the last frame, however much it was.
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; drawNodes(); drawRows(); });
}

function drawNodes() {
  byId('nodes').replaceChildren(...[...nodes.values()].map(drawnNode));
}

function drawnNode(node) {
  const item = element('li');
  const head = element('strong', node.name + ' ');
  const up = node.up === null ? '...' : node.up ? 'up' : 'down';
  head.append(element('span', up, node.up ? 'good' : 'bad'));
  const more = element('button', 'all it tells');
  more.type = 'button';
  more.addEventListener('click', () => showNode(node.name));
  item.append(head, facts([
    ['version', node.version],
    ['isolation', node.isolation],
    ['busy', node.slots === null ? null : `${node.running} of ${node.slots}`],
    ['warm', node.warm],
    ['inbox', node.inbox],
    ['per second', (node.rate_per_s || 0).toFixed(1)],
    ['load', node.load],
    ['temperature', node.temperature_c && `${node.temperature_c} °C`],
    ['clock', node.skew_ms && `${Math.abs(node.skew_ms)} ms ${node.skew_ms > 0 ? 'ahead' : 'behind'}`],
    ['problem', node.problem],
  ]), more);
  return item;
}

function wanted(row) {
  const text = byId('filter-text').value.toLowerCase();
  if (byId('filter-failed').checked && row.status === 'success') return false;
  if (byId('filter-cold').checked && row.init_ms === null) return false;
  return !text || `${row.node} ${row.action}`.toLowerCase().includes(text);
}

function drawRows() {
  const shown = rows.filter(wanted).slice(-SHOWN).reverse();
  byId('rows').replaceChildren(...shown.map(drawnRow));
}

function drawnRow(row) {
  const line = element('tr');
  const open = element('button', row.action);
  open.type = 'button';
  open.addEventListener('click', () => { location.hash = `#activation/${row.node}/${row.id}`; });
  const action = element('td');
  action.append(open);
  const took = row.duration_ms === null ? '' : `${row.duration_ms} ms`;
  const start = row.duration_ms === null ? 'trigger'
    : row.init_ms === null ? 'warm' : `cold ${row.init_ms} ms`;
  line.append(
    element('td', new Date(row.start_ms).toLocaleTimeString()),
    element('td', row.node),
    action,
    element('td', row.status, row.status === 'success' ? 'good' : 'bad'),
    element('td', took),
    element('td', row.wait_ms === null ? '' : `${row.wait_ms} ms`),
    element('td', start),
  );
  return line;
}

async function showNode(name) {
  const report = byId('node-report');
  byId('node').hidden = false;
  byId('node-name').textContent = name;
  report.textContent = '...';
  try {
    report.textContent = JSON.stringify(await ask(`api/node/${encodeURIComponent(name)}`), null, 2);
  } catch (error) { report.textContent = error.message; }
}

async function showActivation(node, id) {
  byId('activation').hidden = false;
  byId('activation-name').textContent = `${id} on ${node}`;
  try {
    const record = await ask(`api/activation/${encodeURIComponent(node)}/${encodeURIComponent(id)}`);
    drawActivation(record);
  } catch (error) {
    byId('activation-facts').replaceChildren();
    byId('activation-result').textContent = error.message;
    byId('activation-logs').textContent = '';
  }
}

function drawActivation(record) {
  const known = Object.fromEntries(record.annotations.map((each) => [each.key, each.value]));
  byId('activation-facts').replaceChildren(...facts([
    ['action', known.path || record.name],
    ['version', record.version],
    ['status', record.response.status],
    ['began', new Date(record.start).toLocaleString()],
    ['took', record.duration === undefined ? null : `${record.duration} ms`],
    ['waited', known.waitTime === undefined ? null : `${known.waitTime} ms`],
    ['init', known.initTime === undefined ? 'warm' : `cold, ${known.initTime} ms`],
    ['caused by', record.cause],
    ['limit', known.limitExceeded],
  ]).childNodes);
  const result = record.response.result;
  byId('activation-result').textContent = record.result_whole
    ? JSON.stringify(result, null, 2)
    : `${result}\n... ${record.result_bytes} bytes in all`;
  const before = record.logs_left_out ? [`... ${record.logs_left_out} lines before these`] : [];
  byId('activation-logs').textContent = [...before, ...record.logs].join('\n');
}

// #activation/NODE/ID is a link to one activation.
function follow() {
  const [view, node, id] = location.hash.slice(1).split('/').map(decodeURIComponent);
  if (view !== 'activation' || !id) return;
  showActivation(node, id).then(() => byId('activation').scrollIntoView({ block: 'nearest' }));
}

async function lookAtEvents() {
  const node = byId('events-node').value;
  byId('events-error').textContent = '';
  try {
    const found = await ask(`api/dead/${encodeURIComponent(node)}`);
    const list = found.map((event) => drawnEvent(node, event));
    byId('events-list').replaceChildren(...(list.length ? list : [element('li', 'none')]));
  } catch (error) { byId('events-error').textContent = error.message; }
}

function drawnEvent(node, event) {
  const item = element('li');
  item.append(facts(Object.entries(event).map(([name, value]) =>
    [name, typeof value === 'object' ? JSON.stringify(value) : value])));
  for (const [text, method] of [['replay', 'POST'], ['drop', 'DELETE']]) {
    const button = element('button', text);
    button.type = 'button';
    button.addEventListener('click', () => {
      const path = `api/dead/${encodeURIComponent(node)}/${encodeURIComponent(event.activationId)}`;
      change(method, path).then(lookAtEvents, (error) => {
        byId('events-error').textContent = error.message;
      });
    });
    item.append(button, ' ');
  }
  return item;
}

async function run(submitted) {
  submitted.preventDefault();
  byId('run-error').textContent = '';
  const node = byId('run-node').value;
  const action = byId('run-action').value.split('/').map(encodeURIComponent).join('/');
  try {
    JSON.parse(byId('run-arguments').value);
    const path = `api/run/${encodeURIComponent(node)}/${action}`;
    const ended = await change('POST', path, byId('run-arguments').value);
    byId('run-note').textContent = `${ended.success ? 'success' : 'failed'}: ${ended.id}`;
    location.hash = `#activation/${node}/${ended.id}`;
  } catch (error) { byId('run-error').textContent = error.message; }
}

async function login(submitted) {
  submitted.preventDefault();
  const key = byId('login-key').value;
  try {
    await ask('login', { method: 'POST', body: JSON.stringify({ key }) });
    byId('login').hidden = true;
    byId('login-key').value = '';
    await begin();
  } catch (error) { byId('login-error').textContent = error.message; }
}

function options(id) {
  byId(id).replaceChildren(...[...nodes.keys()].map((name) => {
    const option = element('option', name);
    option.value = name;
    return option;
  }));
}

async function begin() {
  const fleet = await ask('api/fleet');
  for (const node of fleet.nodes) nodes.set(node.name, node);
  rows = fleet.rows;
  options('events-node');
  options('run-node');
  draw();
  listen();
  follow();
}

function listen() {
  const news = new EventSource('api/news');
  news.addEventListener('open', () => { byId('state').textContent = 'live'; });
  news.addEventListener('error', () => { byId('state').textContent = 'no connection, trying again'; });
  news.addEventListener('node', (event) => {
    const node = JSON.parse(event.data);
    nodes.set(node.name, node);
    draw();
  });
  news.addEventListener('activation', (event) => {
    const row = JSON.parse(event.data);
    rows.push(row);
    if (rows.length > KEPT) rows = rows.slice(-KEPT);
    byId('state').textContent = row.missed ? `live, ${row.missed} missed` : 'live';
    draw();
  });
}

window.addEventListener('hashchange', follow);
byId('filters').addEventListener('input', draw);
byId('filters').addEventListener('submit', (event) => event.preventDefault());
byId('events-ask').addEventListener('click', lookAtEvents);
byId('run-form').addEventListener('submit', run);
byId('login-form').addEventListener('submit', login);
begin().catch((error) => { byId('state').textContent = error.message; });
