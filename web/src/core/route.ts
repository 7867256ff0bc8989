// The page's place: /console/…, so that Back, reload and links work.
import { signal } from '@preact/signals';

export const route = signal(location.pathname + location.search);
addEventListener('popstate', () => (route.value = location.pathname + location.search));

export function go(path: string, replace = false) {
  if (path === route.value) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', path);
  route.value = path;
}

/** The handler of links inside the page. */
export function onLink(e: MouseEvent) {
  const a = (e.target as Element).closest?.('a[href^="/console"]') as HTMLAnchorElement | null;
  if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || a.target || a.hasAttribute('download')) return;
  e.preventDefault();
  go(a.getAttribute('href')!);
}

/** The parts after /console, decoded. */
export function parts(): string[] {
  return route.value.split('?')[0]!.split('/').slice(2).filter(Boolean).map(decodeURIComponent);
}

export const params = () => new URLSearchParams(route.value.split('?')[1] ?? '');

export const conversationLink = (account: string, openid: string) => `/console/c/${encodeURIComponent(account)}/${encodeURIComponent(openid)}`;
