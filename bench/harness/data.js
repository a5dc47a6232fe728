// Deterministic CRM "task" records. The same seed gives the same records in every peer.
export const STATUSES = ['open', 'in_progress', 'waiting', 'done', 'cancelled'];
export const ASSIGNEES = Array.from({ length: 100 }, (_, i) => `user-${String(i).padStart(3, '0')}`);
const WORDS = ('call review contract renewal invoice follow up customer meeting proposal draft budget ' +
  'quarter pipeline onboarding support ticket escalate demo pricing legal shipment delivery order').split(' ');
const TAGS = ['vip', 'eu', 'us', 'apac', 'renewal', 'churn', 'trial', 'partner', 'upsell', 'legal'];

function rng(seed) { // mulberry32
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const hex = (r, n) => Array.from({ length: n }, () => ((r() * 16) | 0).toString(16)).join('');
function text(r, len) {
  let s = '';
  while (s.length < len) s += WORDS[(r() * WORDS.length) | 0] + ' ';
  return s.slice(0, len);
}

export function makeDocs(n, seed = 1) {
  const r = rng(seed * 7919 + 17);
  const base = Date.UTC(2024, 0, 1);
  const docs = new Array(n);
  for (let i = 0; i < n; i++) {
    const created = base + i * 60_000;
    docs[i] = {
      id: `${hex(r, 8)}-${hex(r, 4)}-4${hex(r, 3)}-a${hex(r, 3)}-${hex(r, 12)}`,
      title: text(r, 40),
      status: STATUSES[(r() * 5) | 0],
      priority: 1 + ((r() * 5) | 0),
      assignee: ASSIGNEES[(r() * 100) | 0],
      points: Math.round(r() * 1000) / 10,
      done: r() < 0.3,
      tags: [TAGS[(r() * 10) | 0], TAGS[(r() * 10) | 0], TAGS[(r() * 10) | 0]],
      notes: text(r, 120),
      made_at: new Date(created).toISOString(),
      due_at: new Date(created + ((r() * 86_400_000 * 30) | 0)).toISOString(),
    };
  }
  return docs;
}
