// The inspector's page. It has no build step and no dependency but uPlot. All texts of the
// cache are shown by textContent: keys, routes and errors are what somebody else has sent.
'use strict';
(() => {

// --- Elements ---------------------------------------------------------------------------

const $ = id => document.getElementById(id);

// h makes an element. Properties that begin with "on" are listeners; texts become text nodes.
function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) el.addEventListener(k.slice(2), v);
    else if (k === 'class') el.className = v;
    else if (k in el && typeof v === 'boolean') el[k] = v;
    else el.setAttribute(k, v);
  }
  put(el, ...children);
  return el;
}

function put(el, ...children) {
  for (const c of children.flat(3)) {
    if (c === undefined || c === null || c === false || c === '') continue;
    el.append(c instanceof Node ? c : String(c));
  }
  return el;
}

const fill = (el, ...children) => put((el.replaceChildren(), el), ...children);
const text = (el, s) => { if (el.textContent !== s) el.textContent = s; };
const sheet = (title, ...children) => h('section', { class: 'panel flush' }, title && h('h2', {}, title), ...children);
const panel = (title, ...children) => h('section', { class: 'panel' }, title && h('h2', {}, title), ...children);
const note = (kind, title, ...rest) => h('p', { class: 'note ' + kind }, h('strong', {}, title), ...rest);
const empty = (title, more) => h('div', { class: 'empty' }, h('strong', {}, title), more);
const keyed = k => k ? h('bdi', { class: 'key', title: 'ID ' + k.id }, k.text || '(no key)') : '';
const bdi = s => h('bdi', { class: 'key' }, s);

function width(el, share) { el.style.setProperty('width', (100 * Math.min(1, Math.max(0, share))).toFixed(2) + '%'); return el; }

// radios is a group of which one is chosen.
let names = 0;
function radios(label, options, chosen, change) {
  const name = 'radio' + ++names;
  return h('fieldset', { class: 'field' }, h('legend', {}, label), h('div', { class: 'switch' }, options.map(([value, title]) =>
    h('label', {}, h('input', { type: 'radio', name, value, checked: value === chosen, onchange: () => change(value) }), title))));
}

function select(label, options, chosen, change) {
  const el = h('select', { onchange: () => change(el.value) }, options.map(([value, title]) => h('option', { value }, title)));
  el.value = chosen;
  return h('label', { class: 'field' }, label, el);
}

// --- Texts ------------------------------------------------------------------------------

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const num = n => whole.format(n);
const few = n => n < 10000 ? num(n) : short.format(n);
const digits = (n, unit) => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2)).replace(/\.?0+$/, m => m.includes('.') ? '' : m) + ' ' + unit;

function dur(s) {
  if (s === null || s === undefined) return '–';
  const sign = s < 0 ? '−' : '', a = Math.abs(s);
  if (a === 0) return '0 s';
  if (a < 0.001) return sign + digits(a * 1e6, 'µs');
  if (a < 1) return sign + digits(a * 1e3, 'ms');
  if (a < 60) return sign + digits(a, 's');
  const parts = [[Math.floor(a / 86400), 'd'], [Math.floor(a / 3600) % 24, 'h'], [Math.floor(a / 60) % 60, 'min'], [Math.floor(a) % 60, 's']];
  const first = parts.findIndex(p => p[0] > 0);
  return sign + parts.slice(first, first + 2).filter(p => p[0] > 0).map(p => p[0] + ' ' + p[1]).join(' ');
}

function bytes(n) {
  if (n < 0) return 'not known';
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (n < 1024 || unit === 'GiB') return unit === 'B' ? num(n) + ' B' : digits(n, unit);
    n /= 1024;
  }
}

const percent = share => share === null || share === undefined ? '–' : (100 * share).toFixed(share > 0.9995 || share === 0 ? 0 : 1) + ' %';
const pad = (n, to = 2) => String(n).padStart(to, '0');
function clock(ms, fine) {
  const d = new Date(ms);
  return pad(d.getHours()) + ':' + pad(d.getMinutes()) + ':' + pad(d.getSeconds()) + (fine ? '.' + pad(d.getMilliseconds(), 3) : '');
}
function when(ms) {
  if (!ms) return '–';
  const d = new Date(ms), day = d.getFullYear() + '-' + pad(d.getMonth() + 1) + '-' + pad(d.getDate());
  return new Date().toDateString() === d.toDateString() ? clock(ms) : day + ' ' + clock(ms).slice(0, 5);
}

const RESULTS = ['hit', 'stale', 'revalidated', 'collapsed', 'miss', 'bypass', 'error'];
const MEANING = {
  hit: 'stored and fresh', stale: 'stored and stale', revalidated: 'stored, and found to be good still', collapsed: 'what another request got',
  miss: 'from the handler', bypass: 'none of the cache’s business', error: 'of the cache, or a panic',
};
const CAUSES = {
  cold: 'nothing stored of late', expired: 'its time was over', vary: 'stored for other requests', purged: 'it was purged',
  request: 'the request rules it out', corrupt: 'no entry of ours', store_error: 'the store failed', breaker: 'the breaker was open', lost: 'gone before its time', partial: 'stored in parts',
};
const dot = r => h('span', { class: 'dot r-' + r, 'aria-hidden': 'true' });

// --- The API ----------------------------------------------------------------------------

let token = ''; // in memory only
let access = 'none';

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function api(path, body, signal) {
  const headers = {};
  if (token) headers.Authorization = 'Bearer ' + token;
  if (body) headers['Content-Type'] = 'application/json';
  let res;
  try {
    res = await fetch('api/' + path, {
      method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal,
      cache: 'no-store', credentials: 'same-origin', redirect: 'error', referrerPolicy: 'no-referrer',
    });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Refused(0, 'The service cannot be reached. Is it running, and is this page’s address still its own?');
  }
  let data = {};
  try { data = await res.json(); } catch { data = { error: 'The answer is no JSON: is something else in front of the inspector?' }; }
  if (!res.ok) throw new Refused(res.status, data.error || 'Status ' + res.status);
  return data;
}

// --- Tables -----------------------------------------------------------------------------

// grid is a table whose rows are kept while their keys stay, so that focus and selection
// do too. Columns: {title, cell(row) → text or nodes, value(row) to sort by, num, head, text}.
function grid(caption, columns, { key, sort, desc = true, none, tall } = {}) {
  let rows = [], by = sort === undefined ? -1 : sort, down = desc;
  const body = h('tbody'), known = new Map();
  const heads = columns.map((c, i) => h('th', { scope: 'col', class: c.num ? 'num' : c.wide ? 'wide' : c.text ? 'text' : '' }, c.value
    ? h('button', { type: 'button', onclick: () => { down = by === i ? !down : c.num === true; by = i; show(); } }, c.title) : c.title));
  const table = h('table', {}, h('caption', { class: 'hush' }, caption), h('thead', {}, h('tr', {}, heads)), body);
  const scroll = h('div', { class: 'scroll' + (tall ? ' tall' : ''), tabindex: '0', role: 'region', 'aria-label': caption }, table);
  const nothing = h('div', {}, none);
  const el = h('div', { class: 'rows' }, scroll, nothing);

  function line(row) {
    const k = key(row);
    let known_ = known.get(k);
    if (!known_) {
      const cells = columns.map(c => h(c.head ? 'th' : 'td', { scope: c.head && 'row', class: c.num ? 'num' : c.wide ? 'wide' : c.text ? 'text' : '' }));
      known_ = { tr: h('tr', {}, cells), cells, seen: [] };
      known.set(k, known_);
    }
    columns.forEach((c, i) => {
      const now = c.is ? c.is(row) : JSON.stringify(c.value ? c.value(row) : row);
      if (known_.seen[i] === now) return;
      known_.seen[i] = now;
      fill(known_.cells[i], c.cell(row));
    });
    return known_.tr;
  }

  function show() {
    let sorted = rows;
    if (by >= 0) {
      const value = columns[by].value;
      sorted = rows.slice().sort((a, b) => {
        const x = value(a), y = value(b);
        const order = typeof x === 'string' ? x.localeCompare(y) : (x ?? -1) - (y ?? -1);
        return down ? -order : order;
      });
      heads.forEach((th, i) => i === by ? th.setAttribute('aria-sort', down ? 'descending' : 'ascending') : th.removeAttribute('aria-sort'));
    }
    const keep = new Set();
    let at = body.firstChild;
    for (const row of sorted) {
      const tr = line(row);
      keep.add(tr);
      if (tr === at) at = at.nextSibling;
      else body.insertBefore(tr, at);
    }
    for (const [k, v] of known) if (!keep.has(v.tr)) { v.tr.remove(); known.delete(k); }
    scroll.hidden = rows.length === 0;
    nothing.hidden = rows.length > 0;
  }
  show();
  return { el, set(next) { rows = next; show(); } };
}

// counts lists numbers with their names, largest first.
function counts(map, mean, total) {
  const all = Object.entries(map || {}).sort((a, b) => b[1] - a[1]);
  if (!all.length) return h('p', { class: 'soft' }, 'None so far.');
  return h('ul', { class: 'counts' }, all.map(([k, n]) => h('li', {}, mean && mean[k] && MEANING[k] ? dot(k) : '', h('span', {}, k, mean && mean[k] ? h('span', { class: 'soft' }, ' – ' + mean[k]) : ''),
    h('span', { class: 'nowrap' }, num(n), total ? h('span', { class: 'soft' }, ' · ' + percent(n / total)) : ''))));
}

// --- Charts -----------------------------------------------------------------------------

const colour = name => {
  const probe = h('i', { hidden: true });
  document.body.append(probe);
  probe.style.setProperty('color', `var(--${name})`);
  const c = getComputedStyle(probe).color; // light-dark() is resolved here
  probe.remove();
  return c;
};

// chart draws series of {label, colour, values, dash}. Stacked ones are drawn as sums, the
// highest first, so that each covers what is not its own.
function chart(host, label, times, series, { stacked, log, unit, incrs, marks }) {
  const lines = stacked ? series.slice().reverse() : series;
  const data = [times];
  if (stacked) {
    const sums = series.map(s => s.values.slice());
    for (let i = 1; i < sums.length; i++) sums[i] = sums[i].map((v, j) => v + sums[i - 1][j]);
    data.push(...sums.reverse());
  } else data.push(...lines.map(s => s.values));
  const grid_ = colour('line'), axis = colour('soft');
  const alone = (u, i, show) => { // a point without neighbours has no line
    if (stacked || !show && !log) return null;
    const v = u.data[i], out = [];
    for (let j = 0; j < v.length; j++) if (v[j] !== null && (v[j - 1] ?? null) === null && (v[j + 1] ?? null) === null) out.push(j);
    return out;
  };
  const u = new uPlot({
    width: Math.max(280, host.clientWidth || 800), height: 230, pxAlign: 1,
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    legend: { live: true, markers: { width: 2, dash: (_, i) => i && lines[i - 1].dash ? 'dashed' : 'solid' } },
    scales: { y: log ? { distr: 3 } : { range: (_, lo, hi) => [0, hi > 0 ? hi * 1.08 : 1] } },
    axes: [
      { stroke: axis, grid: { stroke: grid_, width: 1 }, ticks: { stroke: grid_, width: 1 }, space: 70, size: 34, values: (_, all) => all.map(v => clock(v * 1000).slice(0, 5)) },
      { stroke: axis, grid: { stroke: grid_, width: 1, filter: (_, all) => all.map(v => !log || Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6 ? v : null) }, ticks: { show: false }, size: 74, ...(incrs && { incrs }), values: (_, all) => all.map(v => v === null ? '' : unit(v)) },
    ],
    series: [
      { label: 'Time', value: (_, v) => v === null ? '' : clock(v * 1000) },
      ...lines.map((s, i) => ({
        label: s.label, stroke: s.colour, width: stacked ? 1 : 1.75, fill: stacked ? s.colour : undefined, dash: s.dash,
        points: { show: !stacked, size: 5, fill: s.colour, filter: alone },
        value: (_, v, __, at) => at === null || at === undefined ? '–' : (x => x === null ? '–' : unit(x))(s.values[at]),
      })),
    ],
    hooks: { draw: [u => {
      const c = u.ctx, px = uPlot.pxRatio;
      c.save();
      c.lineWidth = px;
      c.setLineDash([4 * px, 3 * px]);
      for (const m of marks || []) {
        const x = Math.round(u.valToPos(m.time / 1000, 'x', true));
        if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
        c.strokeStyle = c.fillStyle = m.outcome === 'ok' ? colour('text') : colour('bad');
        c.beginPath();
        c.moveTo(x, u.bbox.top);
        c.lineTo(x, u.bbox.top + u.bbox.height);
        c.stroke();
        c.beginPath();
        c.moveTo(x - 5 * px, u.bbox.top);
        c.lineTo(x + 5 * px, u.bbox.top);
        c.lineTo(x, u.bbox.top + 7 * px);
        c.fill();
      }
      c.restore();
    }] },
  }, data, host);
  u.root.querySelector('canvas').setAttribute('aria-hidden', 'true');
  host.setAttribute('tabindex', '0');
  host.setAttribute('role', 'group');
  host.setAttribute('aria-label', label + ' Arrow keys move through the values; the same is in the table below.');
  host.onkeydown = e => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[e.key];
    if (!step) return;
    e.preventDefault();
    const at = Math.min(times.length - 1, Math.max(0, (u.cursor.idx ?? times.length) + step));
    u.setCursor({ left: u.valToPos(times[at], 'x'), top: 20 });
  };
  return u;
}

// --- Views ------------------------------------------------------------------------------

// A view has a title, and builds itself into an element. What build returns is called each
// `every` ms while somebody looks.
const views = {
  status: { title: 'Status', every: 2000, build: buildStatus },
  charts: { title: 'Charts', every: 5000, build: buildCharts },
  routes: { title: 'Routes', every: 5000, build: buildRoutes },
  reasons: { title: 'Not stored', every: 5000, build: buildReasons },
  top: { title: 'Top keys', every: 5000, build: buildTop },
  tail: { title: 'Tail', every: 1000, build: buildTail },
  url: { title: 'One URL', build: buildURL },
  purge: { title: 'Purge', build: buildPurge },
  config: { title: 'Configuration', every: 60000, build: buildConfig },
};

function buildStatus(el, get) {
  const notes = h('div'), cards = h('dl', { class: 'cards' }), answers = h('div'), causes = h('div'), work = h('div'), writes = h('div');
  const range = h('div'), instances = grid('Instances that share this store', [
    { title: 'Instance', head: true, is: p => p.instance.host, cell: p => [bdi(p.instance.host), h('span', { class: 'soft' }, ' pid ' + p.instance.pid)] },
    { title: 'Requests', num: true, value: p => p.recent.requests, cell: p => num(p.recent.requests) },
    { title: 'Hit share', num: true, value: p => p.recent.hit_share, cell: p => percent(p.recent.hit_share) },
    { title: 'Saved', num: true, value: p => p.recent.saved_seconds, cell: p => dur(p.recent.saved_seconds) },
    { title: 'Waiting', num: true, value: p => p.waiting, cell: p => num(p.waiting) },
    { title: 'Breaker', is: p => String(p.breaker_open), cell: p => p.breaker_open ? h('span', { class: 'bad' }, 'open') : 'closed' },
    { title: 'Told', num: true, is: p => String(p.now), cell: p => when(p.now) },
  ], { key: p => p.instance.id });
  const peers = sheet('All instances', h('p', { class: 'soft' }, 'Last 15 minutes, as each has told in the last half minute.'), instances.el);
  peers.hidden = true;
  let askPeers = 0;
  put(el, notes, cards, peers, range, h('div', { class: 'twin' },
    panel('Why the handler was asked', h('p', { class: 'soft' }, 'Last 15 minutes.'), causes),
    panel('Under way', work)), h('div', { class: 'twin' }, panel('Since the start', writes), panel('Calls of the store', answers)));
  const card = (title, big, small, kind) => h('div', { class: 'card' }, h('dt', {}, title), h('dd', { class: 'big ' + (kind || '') }, big), (Array.isArray(small) ? small : [small]).filter(Boolean).map(s => s instanceof Node ? s : h('dd', { class: 'small' }, s)));
  return async () => {
    const s = await get('status');
    text($('where'), [s.namespace, s.instance.host, 'pid ' + s.instance.pid].filter(Boolean).join(' · '));
    if (askPeers-- <= 0) { // less often: it asks the store for each
      askPeers = 4;
      try {
        const all = await get('instances');
        if (!all.shared) askPeers = Infinity;
        peers.hidden = !all.shared;
        instances.set(all.instances);
      } catch (e) {
        if (e.name === 'AbortError' || e.status === 401) throw e;
        peers.hidden = true; // the store fails: the rest of the page says so
      }
    }
    const r = s.recent, t = s.total, sv = s.server;
    const used = sv.max_bytes ? sv.used_bytes / sv.max_bytes : 0;
    const out = [];
    if (!t.requests) out.push(note('', 'No requests yet.', 'If the service has traffic: is this recorder the Observer of the cache’s Config, and does the middleware run on the routes?'));
    if (s.breaker.open) out.push(note('bad', 'The circuit breaker is open.', 'Requests are answered as if nothing were stored. It closes by itself when the store answers again: look at the server.'));
    if (sv.error) out.push(note('bad', 'The server does not answer as it should.', sv.error));
    if (used > 0.9) out.push(note(used > 0.98 ? 'bad' : 'warn', 'The server’s memory is nearly full.', percent(used) + ' is in use: let it evict, give it more, or shorten lifetimes.'));
    if (s.near.exists && !s.near.on) out.push(note('warn', 'The near tier is off.', 'The server does not announce changes on this connection just now, so each hit asks it.'));
    if (s.gauges.routes_beyond) out.push(note('warn', 'There are more routes than are told apart.', num(s.gauges.routes_beyond) + ' events are under “other”: give the adapter patterns, not paths (WithRoute).'));
    if (s.problem) out.push(note('warn', 'Something is missing here.', s.problem));
    fill(notes, out);
    fill(cards,
      card('Hit share, 15 minutes', percent(r.hit_share), `since the start ${percent(t.hit_share)}`),
      card('Requests, 15 minutes', few(r.requests), `${num(t.requests)} since the start`),
      card('Handler time saved', dur(r.saved_seconds), `${dur(t.saved_seconds)} since the start`),
      card('Circuit breaker', s.breaker.off ? 'none' : s.breaker.open ? 'open' : 'closed',
        s.breaker.opened ? `opened ${num(s.breaker.opened)} times, last change ${when(s.breaker.since)}` : s.breaker.off ? 'the store is in this process' : 'it has never opened', s.breaker.open ? 'bad' : ''),
      card('Near tier', s.near.exists ? (s.near.on ? 'on' : 'off') : 'none',
        s.near.exists ? `${num(s.near.entries)} copies, ${bytes(s.near.bytes)}; ${few(s.near.hits)} hits` : 'each hit asks the store', s.near.exists && !s.near.on ? 'warn' : ''),
      card('Server', sv.name || (sv.in_process ? 'in this process' : 'not known'), [[sv.version && 'version ' + sv.version, sv.address].filter(Boolean).join(' · ')]),
      card('Server’s memory', sv.used_bytes ? bytes(sv.used_bytes) : '–', sv.max_bytes
        ? [h('dd', { class: 'meter' + (used > 0.9 ? ' high' : ''), 'aria-hidden': 'true' }, width(h('span'), used)), `${percent(used)} of ${bytes(sv.max_bytes)}`] : 'no limit is known'),
      card('Server’s latency', sv.latency_seconds ? dur(sv.latency_seconds) : '–',
        s.store.p99_seconds ? `calls of requests: p50 ${dur(s.store.p50_seconds)}, p99 ${dur(s.store.p99_seconds)}` : 'no calls of requests in the last minutes'));
    fill(range, r.requests ? panel('How requests were answered', h('p', { class: 'soft' }, 'Last 15 minutes.'),
      h('div', { class: 'share', 'aria-hidden': 'true' }, RESULTS.filter(n => r.results[n]).map(n => width(h('span', { class: 'r-' + n }), r.results[n] / r.requests))),
      counts(r.results, MEANING, r.requests)) : '');
    fill(causes, counts(r.causes, CAUSES, Object.values(r.causes || {}).reduce((a, b) => a + b, 0)));
    const g = s.gauges, fact = (k, v) => [h('dt', {}, k), h('dd', {}, v)];
    fill(work, h('dl', { class: 'facts' }, fact('Requests that wait for others', num(g.waiting)), fact('Refreshes in the queue', num(g.refresh_queue)),
      fact('On its way to the store', bytes(g.write_buffer_bytes)), fact('Calls spared by the breaker', num(g.calls_spared)),
      fact('This instance', `${s.instance.host}, up ${dur((s.now - s.instance.started) / 1000)}`)));
    const part = (title, map) => [h('h3', {}, title), counts(map)];
    fill(writes, h('div', { class: 'cols' }, h('div', {}, part('Responses to be stored', t.stores)), h('div', {}, part('Refreshes', t.refreshes)), h('div', {}, part('Purges', t.purges))));
    fill(answers, s.store.by_outcome && Object.keys(s.store.by_outcome).length ? counts(s.store.by_outcome) : h('p', { class: 'soft' }, sv.in_process ? 'The store is in this process: there are no calls.' : 'None so far.'));
  };
}

let chartRange = '15m';
function buildCharts(el, get, { refresh, onClose }) {
  const kinds = [
    { id: 'results', title: 'Requests by result', unit: v => digits(v, '/s'), stacked: true },
    { id: 'latency', title: 'Latency of hits and handlers', unit: dur, log: true },
    { id: 'bytes', title: 'Body bytes sent', unit: v => bytes(Math.round(v)) + '/s', incrs: Array.from({ length: 45 }, (_, i) => 2 ** i), stacked: true },
  ];
  const bar = h('div', { class: 'bar' }, radios('Time', [['15m', '15 minutes'], ['1h', '1 hour'], ['24h', '24 hours']], chartRange, v => { chartRange = v; refresh(); }));
  put(el, bar);
  for (const k of kinds) {
    k.host = h('div', { class: 'chart' });
    k.more = h('div');
    k.details = h('details', { ontoggle: () => table(k) }, h('summary', {}, 'Table: ' + k.title.toLowerCase()), k.more);
    put(el, panel(k.title, k.host, k.details));
  }
  const purges = h('div');
  put(el, panel('Purges', h('p', { class: 'soft' }, 'A dashed line in the charts each.'), purges));
  let last;

  function series(k) {
    const c = last;
    const rate = v => v.map((n, i) => n / (i < v.length - 1 ? c.step_seconds : Math.max(1, c.last_step_seconds))); // the last slot is not over
    if (k.id === 'results') return RESULTS.filter(n => c.results[n].some(v => v > 0)).map(n => ({ label: n, colour: colour(n), values: rate(c.results[n]) }));
    if (k.id === 'bytes') return [{ label: 'from the cache', colour: colour('hit'), values: rate(c.bytes.cache) }, { label: 'from handlers', colour: colour('miss'), values: rate(c.bytes.handler) }];
    return [['hit_p50', 'hits p50', 'hit'], ['hit_p99', 'hits p99', 'hit', [5, 4]], ['handler_p50', 'handlers p50', 'miss'], ['handler_p99', 'handlers p99', 'miss', [5, 4]]]
      .map(([id, label, col, dash]) => ({ label, colour: colour(col), dash, values: c.latency[id] }));
  }

  function table(k) {
    if (!k.details.open || !last) return;
    const c = last, s = series(k), rows = [];
    for (let i = c.times.length - 1; i >= 0; i--) if (s.some(x => x.values[i])) rows.push(i);
    if (!k.grid || k.columns !== s.length) {
      k.columns = s.length;
      k.grid = grid(k.title, [{ title: 'From', head: true, is: r => String(r.time), cell: r => when(r.time * 1000) },
        ...s.map((x, j) => ({ title: x.label, num: true, is: r => String(r.values[j]), cell: r => r.values[j] === null ? '–' : k.unit(r.values[j]) }))],
      { key: r => r.time, none: empty('Nothing was counted in this time.') });
      fill(k.more, k.grid.el);
    }
    k.grid.set(rows.map(i => ({ time: c.times[i], values: s.map(x => x.values[i]) })));
  }

  function draw() {
    if (!last) return;
    for (const k of kinds) {
      const s = series(k), some = s.some(x => x.values.some(v => v));
      const focused = document.activeElement === k.host, at = k.plot && k.plot.cursor.idx;
      if (k.plot) k.plot.destroy();
      k.plot = null;
      k.host.replaceChildren();
      if (!some) { k.host.removeAttribute('tabindex'); put(k.host, empty('Nothing was counted in this time.', 'Charts begin when the service starts, and fill as requests come.')); continue; }
      k.plot = chart(k.host, k.title + '.', last.times, s, { ...k, marks: last.purges });
      if (focused && at !== null && at !== undefined) k.plot.setCursor({ left: k.plot.valToPos(last.times[at], 'x'), top: 20 });
      table(k);
    }
  }

  const sized = new ResizeObserver(() => { for (const k of kinds) if (k.plot && k.host.clientWidth > 0 && k.plot.width !== k.host.clientWidth) k.plot.setSize({ width: k.host.clientWidth, height: 230 }); });
  for (const k of kinds) sized.observe(k.host);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', draw);
  document.addEventListener('theme', draw);
  onClose(() => {
    sized.disconnect();
    scheme.removeEventListener('change', draw);
    document.removeEventListener('theme', draw);
    for (const k of kinds) if (k.plot) k.plot.destroy();
  });
  return async () => {
    const c = await get('charts?range=' + chartRange);
    // While somebody points at a value it stays there.
    if (last && last.range === c.range && kinds.some(k => k.plot && (k.host.matches(':hover') || k.host.matches(':focus')))) return;
    last = c;
    draw();
    fill(purges, c.purges.length ? h('ul', { class: 'targets' }, c.purges.slice().reverse().map(p => h('li', {}, when(p.time), ' ', h('span', { class: 'tag' }, p.kind), p.soft && h('span', { class: 'tag' }, 'soft'),
      h('span', { class: p.outcome === 'ok' ? 'soft' : 'bad' }, p.outcome === 'ok' ? 'acknowledged' : p.outcome)))) : h('p', { class: 'soft' }, 'None in this time.'));
  };
}

const sinceLine = ms => 'This hour and the one before: since ' + when(ms) + '.';

function buildRoutes(el, get) {
  const lead = h('p', { class: 'lead' });
  const g = grid('Routes', [
    { title: 'Route', head: true, text: true, value: r => r.route, cell: r => bdi(r.route || '(none)') },
    { title: 'Requests', num: true, value: r => r.requests, cell: r => num(r.requests) },
    { title: 'Hit share', num: true, value: r => r.hit_share, cell: r => [percent(r.hit_share), h('span', { class: 'part', 'aria-hidden': 'true' }, width(h('span'), r.hit_share || 0))] },
    { title: 'Main cause of misses', value: r => r.cause, cell: r => r.cause ? [r.cause, h('span', { class: 'soft' }, ' – ' + (CAUSES[r.cause] || ''))] : '–' },
    { title: 'Mainly not stored', value: r => r.reason, cell: r => r.reason ? h('a', { href: '#/reasons' }, r.reason) : '–' },
    { title: 'p99', num: true, value: r => r.p99_seconds, cell: r => dur(r.p99_seconds) },
    { title: 'Saved', num: true, value: r => r.saved_seconds, cell: r => r.saved_seconds ? dur(r.saved_seconds) : '–' },
    { title: 'Bodies', num: true, value: r => r.body_bytes, cell: r => bytes(r.body_bytes) },
  ], { key: r => r.route, sort: 1, none: empty('No requests in this time.', 'Routes appear with their first request.') });
  put(el, lead, sheet('', g.el));
  return async () => { const t = await get('routes'); text(lead, sinceLine(t.since) + ' Hits are fresh or stale; bypasses are left out of the share.'); g.set(t.routes); };
}

function buildReasons(el, get) {
  const lead = h('p', { class: 'lead' });
  const g = grid('Why responses were not stored', [
    { title: 'Reason', head: true, value: r => r.reason, is: r => r.reason, cell: r => [r.reason, h('br'), h('span', { class: 'tag' }, r.bypass ? 'bypass' : 'not stored')] },
    { title: 'Count', num: true, value: r => r.count, cell: r => num(r.count) },
    { title: 'What to do', text: true, is: r => r.remedy, cell: r => r.remedy },
    { title: 'Routes', text: true, is: r => JSON.stringify(r.routes), cell: r => h('ul', { class: 'clip', tabindex: r.routes.length > 3 ? '0' : null, 'aria-label': 'Routes with ' + r.reason }, r.routes.map(x => h('li', {}, bdi(x.route), h('span', { class: 'soft' }, ' ' + num(x.count))))) },
  ], { key: r => r.reason + r.bypass, sort: 1, none: empty('Everything that came could be stored.', 'Reasons appear with the first response that cannot.') });
  put(el, lead, sheet('', g.el));
  return async () => { const t = await get('reasons'); text(lead, sinceLine(t.since)); g.set(t.reasons); };
}

const topView = { by: 'requests', period: 'current' };
function buildTop(el, get, { refresh }) {
  const lead = h('p', { class: 'lead' });
  const show = n => topView.by === 'bytes' ? bytes(n) : num(n);
  let largest = 1;
  const g = grid('Keys with the most', [
    { title: '#', num: true, is: r => String(r.rank), cell: r => String(r.rank) },
    { title: 'Key', head: true, text: true, is: r => r.key.text, cell: r => keyed(r.key) },
    { title: 'At most', num: true, is: r => topView.by + r.count + '/' + largest, cell: r => [show(r.count), h('span', { class: 'part', 'aria-hidden': 'true' }, width(h('span'), r.count / largest))] },
    { title: 'Less at most', num: true, is: r => topView.by + r.error, cell: r => r.error ? '−' + show(r.error) : '–' },
    { title: 'ID', is: r => r.key.id, cell: r => h('code', { class: 'soft' }, r.key.id) },
    { title: 'Stored', is: r => r.key.text, cell: r => !/^https?:\/\/[^\s…\\<>]+$/.test(r.key.text) ? '' : h('button', { class: 'small', type: 'button', 'aria-label': 'Look up ' + r.key.text, onclick: () => { asked.url = r.key.text; location.hash = '#/url'; } }, 'Look up') },
  ], { key: r => r.key.id, none: empty('No keys in this hour yet.', 'They appear with the first requests.') });
  put(el, h('div', { class: 'bar' },
    radios('By', [['requests', 'Requests'], ['bytes', 'Bytes'], ['misses', 'Misses']], topView.by, v => { topView.by = v; refresh(); }),
    radios('Hour', [['current', 'This hour'], ['previous', 'The one before']], topView.period, v => { topView.period = v; refresh(); })),
  lead, sheet('', g.el));
  return async () => {
    const t = await get(`top?by=${topView.by}&period=${topView.period}`);
    text(lead, t.since ? `From ${when(t.since)} to ${when(t.until)}. An estimate: what is counted lies between both numbers; in seconds of over 200 hits, one of ${t.sample} is counted as ${t.sample}. Values of queries, fields and cookies are left out; IDs tell such keys apart.` : 'The hour before is not known: the service has not run for long enough.');
    largest = t.keys.length ? t.keys[0].count : 1;
    g.set(t.keys.map((k, i) => ({ ...k, rank: i + 1 })));
  };
}

const tailFilter = { kind: '', result: '', outcome: '', cause: '', reason: '', route: '', key: '' };
function buildTail(el, get, { refresh }) {
  let after = 0, instance = '', rows = [], lost = 0, held = false;
  const most = 400;
  const set = name => v => { tailFilter[name] = v.trim(); after = 0; rows = []; lost = 0; refresh(); };
  const any = list => [['', 'any'], ...list.map(v => [v, v])];
  const typed = (label, name, hint) => {
    const input = h('input', { type: 'text', value: tailFilter[name], placeholder: hint, autocomplete: 'off', spellcheck: 'false', size: '18', onchange: () => set(name)(input.value) });
    return h('label', { class: 'field' }, label, input);
  };
  const pauseTail = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => { held = !held; pauseTail.setAttribute('aria-pressed', String(held)); text(pauseTail, held ? 'Go on' : 'Hold'); if (!held) refresh(); } }, 'Hold');
  const lead = h('p', { class: 'lead', role: 'status' });
  const detail = e => [
    e.cause && 'cause ' + e.cause, e.reason && 'not stored: ' + e.reason, e.stale && 'stale: ' + e.stale, e.op && 'call: ' + e.op, e.trigger && 'trigger ' + e.trigger,
    e.purge && 'of ' + e.purge, e.soft && 'soft', e.background && 'in the background', e.wait_seconds && 'waited ' + dur(e.wait_seconds), e.handler_seconds && 'handler ' + dur(e.handler_seconds),
    e.age_seconds && 'age ' + dur(e.age_seconds), e.ttl_seconds && (e.ttl_seconds > 0 ? 'fresh for ' : 'stale for ') + dur(Math.abs(e.ttl_seconds)), e.error && 'error: ' + e.error,
  ].filter(Boolean).join(' · ');
  const g = grid('Latest events, newest first', [
    { title: 'Time', is: e => String(e.seq), cell: e => h('span', { class: 'nowrap' }, clock(e.time, true)) },
    { title: 'What', is: () => '', cell: e => h('span', { class: 'nowrap' }, e.result ? [dot(e.result), e.result] : [e.kind.replace('_', ' '), e.outcome && [' ', h('span', { class: 'tag ' + (['ok', 'renewed', 'closed'].includes(e.outcome) ? 'good' : ['error', 'timeout', 'opened'].includes(e.outcome) ? 'bad' : '') }, e.outcome)]]) },
    { title: 'Status', num: true, is: () => '', cell: e => e.status ? [e.method === 'HEAD' ? 'HEAD ' : '', String(e.status)] : '' },
    { title: 'Took', num: true, is: () => '', cell: e => dur(e.total_seconds) },
    { title: 'Route', text: true, is: () => '', cell: e => bdi(e.route || '') },
    { title: 'Key', wide: true, is: () => '', cell: e => keyed(e.key) },
    { title: 'Details', text: true, is: () => '', cell: e => h('span', { class: 'soft' }, [e.tier && e.tier !== 'none' && 'from ' + e.tier, e.body_bytes > 0 && bytes(e.body_bytes), detail(e)].filter(Boolean).join(' · ')) },
  ], { key: e => e.seq, tall: true, none: empty('Nothing to show yet.', 'Misses, stores, purges and failures are kept; hits are shown from now on, as long as this view is open. Filters may leave everything out.') });
  put(el, h('div', { class: 'bar' },
    select('Kind', any(['request', 'handler', 'store', 'store_call', 'refresh', 'purge', 'breaker']), tailFilter.kind, set('kind')),
    select('Result', any(RESULTS), tailFilter.result, set('result')),
    select('Cause', any(Object.keys(CAUSES)), tailFilter.cause, set('cause')),
    select('Outcome', any(['ok', 'renewed', 'refused', 'purged', 'contended', 'dropped', 'timeout', 'error', 'opened', 'closed']), tailFilter.outcome, set('outcome')),
    typed('Reason', 'reason', 'set-cookie'), typed('Route', 'route', '/users/:id'), typed('Key or ID contains', 'key', '/blogs/'),
    h('div', { class: 'push bar' }, pauseTail, h('button', { type: 'button', onclick: () => { rows = []; lost = 0; g.set(rows); } }, 'Clear'))),
  lead, sheet('', g.el));
  return async () => {
    if (held) return;
    const q = new URLSearchParams({ after: String(after), limit: '400' });
    for (const [k, v] of Object.entries(tailFilter)) if (v) q.set(k, v);
    const t = await get('tail?' + q);
    if (instance && instance !== t.instance) { rows = []; lost = 0; }
    instance = t.instance;
    after = t.next;
    lost += t.missed;
    rows = t.events.reverse().concat(rows).slice(0, most);
    g.set(rows);
    text(lead, `${num(rows.length)} events, newest first${lost ? `; ${num(lost)} came too fast to be shown: filter for less` : ''}.`);
  };
}

const asked = { url: '', method: 'GET', header: '', send: false };
function buildURL(el) {
  const out = h('div', { 'aria-live': 'polite' });
  const url = h('input', { id: 'ask-url', type: 'url', required: true, placeholder: 'https://example.com/blogs/1000?page=2', autocomplete: 'off', spellcheck: 'false' });
  const method = h('select', {}, h('option', {}, 'GET'), h('option', {}, 'HEAD'));
  const header = h('textarea', { id: 'ask-header', rows: '3', spellcheck: 'false', placeholder: 'Accept-Encoding: gzip\nAccept-Language: en' });
  const send = h('input', { type: 'checkbox', disabled: access !== 'full' });
  url.value = asked.url; method.value = asked.method; header.value = asked.header;
  const explain = h('button', { type: 'button', onclick: () => { if (form.reportValidity()) go('explain'); } }, 'Explain');
  const form = h('form', { onsubmit: e => { e.preventDefault(); go('lookup'); } }, h('div', { class: 'bar' },
    h('div', { class: 'field wide' }, h('label', { for: 'ask-url' }, 'URL'), url), h('label', { class: 'field' }, 'Method', method)),
  h('div', { class: 'bar' }, h('div', { class: 'field wide' }, h('label', { for: 'ask-header' }, 'Header fields, one a line (optional)'), header)),
  h('div', { class: 'bar mid' }, h('button', { class: 'primary', type: 'submit' }, 'Look up'), explain,
    h('label', { class: 'inline' }, send, 'Explain by sending it: the handler runs', access !== 'full' && h('span', { class: 'soft' }, ' (needs the token that may purge)'))));
  put(el, h('p', { class: 'lead' }, 'Look up shows what is stored for a URL under each policy. Explain sends a dry run through the router and says what would happen.'), panel('', form), out);

  async function go(what) {
    const lines = header.value.split('\n').map(l => l.trim()).filter(Boolean), fields = [];
    for (const l of lines) {
      const i = l.indexOf(':');
      if (i < 1) { fill(out, note('warn', 'That is no field:', bdi(l), ' – write Name: value.')); return; }
      fields.push({ name: l.slice(0, i).trim(), value: l.slice(i + 1).trim() });
    }
    Object.assign(asked, { url: url.value.trim(), method: method.value, header: header.value });
    const ask = { url: asked.url, method: asked.method };
    if (fields.length) ask.header = fields;
    if (what === 'explain' && send.checked) ask.send = true;
    fill(out, h('p', { class: 'soft' }, 'Asking …'));
    try {
      const data = await api(what, ask);
      fill(out, what === 'lookup' ? found(data) : explained(data));
    } catch (e) { fill(out, trouble(e)); }
  }
}

const trouble = e => {
  if (e.status === 401) { signOut(e.message); return ''; }
  const title = { 0: 'Not reachable.', 400: 'That makes no sense.', 403: 'Not with this token.', 501: 'This cannot be told here.', 503: 'The store has not answered: repeat.' }[e.status] || 'That went wrong.';
  return note('bad', title, e.message);
};

const fieldList = fields => fields && fields.length ? h('dl', { class: 'facts' }, fields.map(f => [h('dt', {}, bdi(f.name)), h('dd', {}, bdi(f.value))])) : h('p', { class: 'soft' }, 'None.');
const facts = pairs => h('dl', { class: 'facts' }, pairs.filter(p => p && p[1] !== undefined && p[1] !== '').map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]));
const verdict = (result, ...more) => h('h2', { class: 'verdict' }, dot(result), h('strong', {}, result), ' – ', ...more);
const STATES = { valid: 'good', soft: 'warn', purged: 'bad', lost: 'bad' };

function found(l) {
  if (!l.found.length) return note('', 'No policy of this cache has a key for it.', 'Perhaps all of them skip such requests: use Explain.');
  return l.found.map(f => h('section', { class: 'panel' }, verdict(f.result || 'error', f.because),
    facts([['Policy', f.policies.map(p => p || 'default').join(', ')], ['Key', keyed(f.key)], ['Cause', f.cause && `${f.cause} – ${CAUSES[f.cause] || ''}`], ['Bypass', f.reason], ['Varies by', (f.vary || []).join(', ')]]),
    (f.entries || []).map((e, i) => h('div', { class: 'entry' + (e.selected ? ' chosen' : '') },
      h('h3', {}, f.entries.length > 1 || f.vary ? `Variant ${i + 1} of ${f.entries.length}` : 'The stored response'),
      e.problem ? note('bad', 'This is no entry.', e.problem) : [
        h('p', {}, dot(e.result), e.because),
        h('div', { class: 'cols' },
          h('div', {}, h('h3', {}, 'Freshness and size'), facts([['Status', e.status], ['Stored', when(e.stored_at)], ['Age', dur(e.age_seconds)],
            ['Freshness', e.ttl_seconds >= 0 ? `${dur(e.ttl_seconds)} left of ${dur(e.lifetime_seconds)}` : `stale for ${dur(-e.ttl_seconds)} of ${dur(e.lifetime_seconds)}`],
            ['Forgotten in', e.gone_in_seconds ? dur(e.gone_in_seconds) : ''], ['In the store', bytes(e.size_bytes)], ['Body', bytes(e.body_bytes) + (e.coding ? ` (${e.coding}, ${bytes(e.plain_bytes)} without)` : '')], ['In parts', e.parts || ''], ['A hit saves', dur(e.saves_seconds)], ['Key', keyed(e.key)]]),
          e.selecting && e.selecting.length ? [h('h3', {}, 'Selected by'), fieldList(e.selecting)] : ''),
          h('div', {}, h('h3', {}, 'Tags and their stamps'), e.tags && e.tags.length ? h('ul', {}, e.tags.map(t => h('li', {}, h('span', { class: 'tag ' + (STATES[t.state] || '') }, t.state), bdi(t.name), h('span', { class: 'soft' }, ` ${t.kind}, stamp ${t.stamp || '–'}`)))) : h('p', { class: 'soft' }, 'None: it can be purged by URL, prefix or with everything.')),
          h('div', {}, h('h3', {}, 'Fields'), fieldList(e.header)))])), f.more ? h('p', { class: 'entry soft' }, num(f.more) + ' more variants are not shown.') : ''));
}

function explained(x) {
  return h('section', { class: 'panel' }, verdict(x.result || 'error', x.because), x.remedy && note('warn', 'What to do:', x.remedy),
    facts([['Route', x.route && bdi(x.route)], ['Policy', x.policy || 'default'], ['Key', x.key && keyed(x.key)], ['Cause', x.cause && `${x.cause} – ${CAUSES[x.cause] || ''}`], ['Reason', x.reason],
      x.sent ? ['Sent', `status ${x.status}, the handler took ${dur(x.handler_seconds)}`] : ['Sent', 'no: a dry run']]),
    x.steps && x.steps.length ? h('div', { class: 'entry' }, h('h3', {}, 'On its way'), h('ol', { class: 'steps' }, x.steps.map(s => h('li', {}, h('span', {}, s.step), h('bdi', {}, s.result))))) : '',
    x.sent ? h('div', { class: 'entry' }, h('h3', {}, 'Fields of the response'), fieldList(x.header)) : '');
}

function buildPurge(el) {
  const kinds = { tags: 'one tag a line', urls: 'one absolute URL a line', prefixes: 'one absolute URL a line: it and all below its path', all: '' };
  let kind = 'tags';
  const targets = h('textarea', { id: 'targets', rows: '4', spellcheck: 'false' }), hint = h('span', { class: 'soft', id: 'targets-hint' }, kinds.tags);
  targets.setAttribute('aria-describedby', 'targets-hint');
  const field = h('div', { class: 'field' }, h('label', { for: 'targets' }, 'What'), targets, hint);
  const soft = h('input', { type: 'checkbox' }), softLabel = h('label', { class: 'inline' }, soft, 'Softly: make it stale, so that it answers while it is being renewed');
  const out = h('div', { 'aria-live': 'polite' });
  const form = h('form', { onsubmit: preview }, h('div', { class: 'bar' }, radios('Purge', [['tags', 'Tags'], ['urls', 'URLs'], ['prefixes', 'Prefixes'], ['all', 'Everything']], kind, v => {
    kind = v;
    field.hidden = v === 'all';
    text(hint, kinds[v]);
    softLabel.hidden = v === 'urls';
    fill(out);
  })), field, h('div', { class: 'bar gap' }, softLabel), h('button', { class: 'primary', type: 'submit' }, 'Preview'));
    put(el, h('p', { class: 'lead' }, 'A purge that is acknowledged holds for every process on the store: no request that begins later is answered with what was purged.'),
    access !== 'full' && note('warn', 'This token may only read.', 'You can see what a purge would remove; to purge, sign in with the token that may.'), panel('', form), out);

  async function preview(e) {
    e.preventDefault();
    const order = {};
    if (kind === 'all') order.all = true;
    else {
      order[kind] = targets.value.split('\n').map(s => s.trim()).filter(Boolean);
      if (!order[kind].length) { fill(out, note('warn', 'Nothing to purge:', kinds[kind] + '.')); targets.focus(); return; }
    }
    if (soft.checked && kind !== 'urls') order.soft = true;
    try { confirm(order, await api('preview', order)); } catch (err) { fill(out, trouble(err)); }
  }

  function confirm(order, p) {
    const input = h('input', { id: 'confirm', type: 'text', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'confirm-hint' });
    const button = h('button', { class: 'danger', type: 'submit', disabled: true }, p.soft ? 'Purge softly' : 'Purge');
    const right = () => input.value.trim() === p.confirm && access === 'full';
    input.addEventListener('input', () => { button.disabled = !right(); });
    const result = h('div', { role: 'alert' });
    const form = h('form', { onsubmit: async e => {
      e.preventDefault();
      if (!right()) return;
      button.disabled = true;
      fill(result, h('p', { class: 'soft' }, 'Purging …'));
      try {
        await api('purge', order);
        fill(result, note('good', 'Purged.', 'The store has acknowledged.'));
        input.value = '';
      } catch (err) {
        if (err.status === 503 || err.status === 0) {
          fill(result, note('bad', 'Not acknowledged: repeat.', 'The purge may or may not be effective. ' + err.message));
          text(button, 'Repeat');
          button.disabled = false;
          button.focus();
        } else fill(result, trouble(err));
      }
    } }, h('div', { class: 'bar' }, h('div', { class: 'field wide' }, h('label', { for: 'confirm' }, 'To confirm, type ', h('bdi', { class: 'key' }, p.confirm)), input), button),
    h('p', { class: 'soft', id: 'confirm-hint' }, 'It purges at once. What is gone comes back only as handlers run again.'));
    fill(out, h('section', { class: 'panel' }, h('h2', { tabindex: '-1', id: 'preview-title' }, p.soft ? 'This would become stale' : 'This would be removed'),
      h('ul', { class: 'targets', tabindex: '0', 'aria-label': 'Targets' }, p.targets.map(t => h('li', {}, h('span', { class: 'tag' }, t.kind), t.kind === 'all' ? 'everything under the namespace' : bdi(t.text), t.reaches && t.reaches.length ? h('div', { class: 'soft' }, 'reaches ' + t.reaches.join('; ')) : ''))),
      access === 'full' ? form : h('p', { class: 'soft' }, 'To purge, sign in with the token that may.'), result));
    (access === 'full' ? input : $('preview-title')).focus();
  }
}

const configView = { handle: 0, set: false };
function buildConfig(el, get) {
  let data = { cache: [], handles: [] };
  const columns = [
    { title: 'Setting', head: true, is: s => s.name, cell: s => h('code', {}, s.name) },
    { title: 'Value', text: true, is: s => s.value, cell: s => h('bdi', { class: 'key' }, s.value === '' ? '(empty)' : s.value) },
    { title: 'By', is: s => String(s.default), cell: s => s.default ? h('span', { class: 'soft' }, 'default') : h('span', { class: 'tag good' }, 'this service') },
  ];
  const none = () => empty('Nothing to show.', 'Everything is at its default, or this cache does not tell.');
  const whole_ = grid('Settings of the cache', columns, { key: s => s.name, none: none() }), policy = grid('Settings of the policy', columns, { key: s => s.name, none: none() });
  const pick = h('div');
  const only = h('input', { type: 'checkbox', checked: configView.set, onchange: () => { configView.set = only.checked; show(); } });
  put(el, h('div', { class: 'bar foot' }, pick, h('label', { class: 'inline' }, only, 'Only what is not the default')), sheet('Policy', policy.el), sheet('Cache', whole_.el));
  const some = list => (list || []).filter(s => !configView.set || !s.default);
  function show() {
    const handles = data.handles || [];
    whole_.set(some(data.cache));
    policy.set(handles.length ? some(handles[Math.min(configView.handle, handles.length - 1)].settings) : []);
  }
  return async () => {
    data = await get('config');
    const handles = data.handles || [];
    if (!pick.contains(document.activeElement)) fill(pick, handles.length ? select('Handle', handles.map((x, i) => [String(i), (x.name || (x.default ? 'default' : 'without a name')) + (x.default && x.name ? ' (default)' : '')]), String(Math.min(configView.handle, handles.length - 1)), v => { configView.handle = Number(v); show(); }) : '');
    show();
  };
}

// --- Moving about -----------------------------------------------------------------------

let current = null, paused = false;

function open(id, focus) {
  if (!views[id]) id = 'status';
  if (current) current.close();
  const v = views[id], el = fill($('view')), aborter = new AbortController(), closing = [];
  const me = { id, timer: 0, failures: 0, running: false, again: false };
  current = me;
  document.title = v.title + ' – cacheaside';
  text($('title'), v.title);
  fill($('alert'));
  for (const a of $('nav').querySelectorAll('a')) {
    if (a.hash !== '#/' + id) { a.removeAttribute('aria-current'); continue; }
    a.setAttribute('aria-current', 'page');
    a.scrollIntoView({ block: 'nearest', inline: 'center' });
  }
  me.close = () => { clearTimeout(me.timer); aborter.abort(); closing.forEach(f => f()); };
  const get = path => api(path, undefined, aborter.signal);
  const refresh = () => { clearTimeout(me.timer); tick(true); };
  const update = v.build(el, get, { refresh, onClose: f => closing.push(f) });

  async function tick(now) {
    if (current !== me || !update) return;
    if (me.running) { me.again = me.again || now; return; }
    if (document.hidden || paused && !now) return;
    me.running = true;
    try {
      await update();
      if (current !== me) return;
      me.failures = 0;
      fill($('alert'));
      live();
    } catch (e) {
      if (current !== me || e.name === 'AbortError') return;
      if (e.status === 401) { signOut(e.message); return; }
      if (!(e instanceof Refused)) {
        fill($('alert'), note('bad', 'This page has failed.', 'Reload it; if it fails again, its script and the service are not of one version.'));
        throw e;
      }
      me.failures++;
      live(e.status === 0 ? 'not reachable' : 'failing');
      const shown = $('alert').firstChild;
      if (!shown || shown.dataset.message !== e.message) {
        const n = trouble(e);
        n.dataset.message = e.message;
        fill($('alert'), n);
      }
    } finally {
      me.running = false;
    }
    clearTimeout(me.timer);
    if (me.again) { me.again = false; tick(true); return; }
    me.timer = setTimeout(tick, Math.min(v.every * 2 ** Math.min(me.failures, 4), Math.max(v.every, 15000)));
  }
  me.resume = () => { if (!me.running) refresh(); };
  if (!update) live();
  tick(true);
  if (focus) $('title').focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function live(problem) {
  const el = $('live'), polls = current && views[current.id].every;
  el.className = 'live' + (problem ? ' lost' : paused || !polls ? ' halt' : '');
  // Said once, and not each second, to those who listen.
  text(el, problem ? 'This service is ' + problem + ', trying again' : paused ? 'Paused' : polls ? 'Live' : 'On demand');
}

function route(focus) {
  const id = location.hash.replace(/^#\/?/, '');
  if (access !== 'none') open(id, focus);
}

function signOut(why) {
  token = '';
  access = 'none';
  if (current) { current.close(); current = null; }
  fill($('view'));
  text($('where'), '');
  showDoor(why);
}

function showDoor(why) {
  $('top').hidden = $('frame').hidden = true;
  $('door').hidden = false;
  document.title = 'Sign in – cacheaside';
  text($('refused'), why || '');
  $('token').focus();
}

async function enter(tried) {
  let s;
  try { s = await api('session'); } catch (e) { showDoor(e.message); return; }
  access = s.access;
  if (access === 'none') {
    token = '';
    text($('hint'), s.token ? 'Give the token that this service was started with. It stays in the memory of this page: after a reload it is asked for again.'
      : 'This service lets people in by how they have signed in elsewhere: sign in there, then reload this page.');
    $('token').hidden = $('login').querySelector('label').hidden = $('login').querySelector('button').hidden = !s.token;
    showDoor(tried || s.problem ? s.problem : '');
    return;
  }
  $('door').hidden = true;
  $('top').hidden = $('frame').hidden = false;
  $('leave').hidden = !token; // who is let in by a cookie has to sign out where it is from
  $('token').value = '';
  route(true);
}

$('login').addEventListener('submit', e => {
  e.preventDefault();
  token = $('token').value.trim();
  if (/[^\x21-\x7e]/.test(token)) { token = ''; text($('refused'), 'A token has letters, digits and signs only: copy it once more.'); return; }
  enter(true);
});
$('leave').addEventListener('click', () => signOut(''));
$('skip').addEventListener('click', e => { e.preventDefault(); ($('frame').hidden ? $('token') : $('main')).focus(); });
$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
  live();
  if (!paused && current) current.resume();
});
$('theme').addEventListener('change', () => {
  const t = $('theme').value;
  t ? document.documentElement.setAttribute('data-theme', t) : document.documentElement.removeAttribute('data-theme');
  document.dispatchEvent(new Event('theme'));
});
document.addEventListener('visibilitychange', () => { if (!document.hidden && current && !paused) current.resume(); });
addEventListener('hashchange', () => { if (!takeToken()) route(true); });

for (const [id, v] of Object.entries(views)) put($('nav'), h('li', {}, h('a', { href: '#/' + id }, v.title)));

// takeToken takes a token out of the fragment, which no server sees, and out of the history.
function takeToken() {
  if (!location.hash.startsWith('#token=')) return false;
  try { token = decodeURIComponent(location.hash.slice(7)); } catch { token = ''; }
  history.replaceState(null, '', location.pathname + '#/status');
  enter(true);
  return true;
}
if (!takeToken()) enter(false);

})();
