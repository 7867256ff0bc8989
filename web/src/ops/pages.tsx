import type { ComponentType } from 'preact';
import { go } from '../core/route';
import { isAdmin, mayLead } from '../core/session';
import { t } from '../core/words';
import type { IconName } from '../parts/icons';
import { Accounts } from './accounts';
import { Agents } from './agents';
import { Board } from './board';
import { Callbacks } from './callbacks';
import { Explorer } from './explorer';
import { Keys } from './keys';
import { Me } from './me';
import { Messages } from './messages';
import { Replies } from './replies';
import { Webhooks } from './webhooks';

export interface Ops { path: string; name: string; icon: IconName; admin?: boolean; lead?: boolean; narrow?: boolean; page: ComponentType }

/** The operators' pages, in the order of the rail; the narrow ones stand in it on a
 * phone too, the others are found under one's own settings there. */
export const opsPages: Ops[] = [
  { path: 'board', name: 'nav.board', icon: 'board', narrow: true, page: Board },
  { path: 'messages', name: 'nav.messages', icon: 'list', narrow: true, page: Messages },
  { path: 'replies', name: 'replies.label', icon: 'slash', page: Replies },
  { path: 'callbacks', name: 'nav.callbacks', icon: 'download', page: Callbacks },
  { path: 'accounts', name: 'nav.accounts', icon: 'account', page: Accounts },
  { path: 'webhooks', name: 'nav.webhooks', icon: 'hook', admin: true, page: Webhooks },
  { path: 'explorer', name: 'nav.explorer', icon: 'flask', lead: true, page: Explorer },
  { path: 'agents', name: 'nav.agents', icon: 'user', admin: true, page: Agents },
  { path: 'keys', name: 'nav.keys', icon: 'lock', admin: true, page: Keys },
];

export const mayOpen = (p: Ops) => (p.admin ? isAdmin.value : p.lead ? mayLead.value : true);

export function OpsPage({ page }: { page: string }) {
  if (page === 'me') return <Me pages={opsPages.filter(mayOpen)} />;
  const found = opsPages.find((p) => p.path === page && mayOpen(p));
  if (!found) return <main class="page"><div class="empty"><b>{t('page.none')}</b><button type="button" class="btn" onClick={() => go('/console')}>{t('nav.conversations')}</button></div></main>;
  return <found.page />;
}
