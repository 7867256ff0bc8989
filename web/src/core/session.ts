import { computed, signal } from '@preact/signals';
import { api, Problem, signedOut } from './api';
import { learn } from './clock';
import { t } from './words';
import type { Agent, Session } from './types';

/** Who is signed in; null: nobody; undefined: not asked yet. */
export const session = signal<Session | null | undefined>(undefined);

export const me = computed(() => session.value?.agent);
export const mayWrite = computed(() => !!me.value && me.value.role !== 'viewer');
export const mayLead = computed(() => me.value?.role === 'lead' || me.value?.role === 'admin');
export const isAdmin = computed(() => me.value?.role === 'admin');

/** The name of whoever did something, as the feed tells of it: an agent, or a key. */
export const nameOfBy = (d: { by?: string; by_name?: string }): string => agentById(d.by)?.display || d.by_name || t('by.api');

export const agentById = (id: string | undefined): Agent | undefined => session.value?.agents.find((a) => a.id === id);

function enter(s: Session) {
  learn(s.now);
  signedOut.value = false;
  session.value = s;
}

/** Asks who is signed in; a one-time link in the address signs in. */
export async function begin() {
  const link = new URLSearchParams(location.hash.slice(1)).get('link');
  if (link) history.replaceState(null, '', location.pathname + location.search); // it is used up, and no business of the history
  try {
    enter(link ? await api<Session>('/v1/session', { body: { link } }) : await api<Session>('/v1/session'));
  } catch (e) {
    if (link) return begin();
    if (!(e instanceof Problem)) throw e;
    session.value = null;
  }
}

const AGAIN = 60_000;

/** Learns who has come, gone or changed since the page was opened. */
async function again() {
  if (!session.value || signedOut.value || document.hidden) return;
  try {
    const s = await api<Session>('/v1/session');
    const now = session.value;
    if (!now || now.agent.id !== s.agent.id) return;
    const next = { ...s, now: now.now, agent: { ...s.agent, settings: now.agent.settings } };
    if (JSON.stringify(next) !== JSON.stringify(now)) session.value = next;
  } catch (e) {
    if (e instanceof Problem && e.status === 401) signedOut.value = true;
  }
}
setInterval(again, AGAIN);

export async function signIn(name: string, password: string, code?: string) {
  enter(await api<Session>('/v1/session', { body: { name, password, ...(code && { code }) } }));
}

export async function signOut() {
  await api('/v1/session', { method: 'DELETE' });
  session.value = null;
}

/** The agent's own settings, kept by the gateway. */
export function setting<T>(name: string, otherwise: T): T {
  return (me.value?.settings?.[name] as T) ?? otherwise;
}

export async function setSetting(name: string, value: unknown) {
  const s = session.value;
  if (!s) return;
  const settings = { ...s.agent.settings, [name]: value };
  session.value = { ...s, agent: { ...s.agent, settings } };
  await api('/v1/session/settings', { method: 'PUT', body: settings });
}
