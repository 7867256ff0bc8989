import type { ComponentType } from 'preact';
import { go } from '../core/route';
import { t } from '../core/words';
import type { IconName } from '../parts/icons';
import { Me } from './me';

export interface Ops { path: string; name: string; icon: IconName; admin?: boolean; lead?: boolean; narrow?: boolean; page: ComponentType }

/** The operators' pages, in the order of the rail. */
export const opsPages: Ops[] = [];

export function OpsPage({ page }: { page: string }) {
  if (page === 'me') return <Me />;
  const found = opsPages.find((p) => p.path === page);
  if (!found) return <main class="page"><div class="empty"><b>{t('page.none')}</b><button type="button" class="btn" onClick={() => go('/console')}>{t('nav.conversations')}</button></div></main>;
  return <found.page />;
}
