import { effect, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { signedOut } from './core/api';
import { listed, start } from './core/desk';
import { go, onLink, parts, route } from './core/route';
import { begin, me, session } from './core/session';
import { t, type Key } from './core/words';
import { Desk } from './desk/desk';
import { Keys, onKey } from './desk/keys';
import { listenForHot } from './desk/tone';
import { mayOpen, opsPages, OpsPage } from './ops/pages';
import { signOf } from './parts/avatar';
import { Icon } from './parts/icon';
import { Fence } from './parts/fence';
import type { IconName } from './parts/icons';
import { Logo } from './parts/logo';
import { Announcer, Toasts } from './parts/overlay';
import { SignIn } from './signin';

let running = ''; // whose desk is followed
let known = ''; // whose conversations the page has

export function App() {
  const trouble = useSignal('');
  useEffect(() => {
    void begin().catch((e) => (trouble.value = String(e)));
    document.addEventListener('click', onLink);
    document.addEventListener('keydown', onKey);
  }, []);
  useEffect(() => effect(() => {
    const id = signedOut.value ? '' : (session.value?.agent.id ?? '');
    if (id && known && id !== known) return location.reload(); // nothing of one agent's is left for another
    if (id && id !== running) void start();
    running = id;
    known ||= id;
  }), []);
  useEffect(listenForHot, []);
  if (trouble.value) return <div class="empty page"><b>{t('load.failed')}</b><p>{trouble.value}</p><button type="button" class="btn pri" onClick={() => location.reload()}>{t('retry')}</button></div>;
  if (session.value === undefined) return <Shell />;
  if (session.value === null || signedOut.value) return <SignIn />;
  const page = parts()[0] ?? 'c';
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>{t('skip')}</a>
      <Rail page={page} />
      <div id="main" tabIndex={-1} class="main"><Fence of={route.value}>{page === 'c' ? <Desk /> : <OpsPage page={page} />}</Fence></div>
      <Keys />
      <Toasts />
      <Announcer />
    </>
  );
}

/** What there is to see before it is known who is signed in: as in index.html. */
function Shell() {
  return (
    <>
      <div class="rail"><Logo /></div>
      <div class="main"><main class="desk" aria-busy="true"><p class="sr" role="status">{t('loading')}</p><div class="pane lst" /><div class="pane th" /><div class="pane card" /></main></div>
    </>
  );
}

function Rail({ page }: { page: string }) {
  const waiting = listed.value.counts.waiting;
  const hot = listed.value.hot.length + listed.value.more;
  useEffect(() => {
    document.title = `${hot ? `⏱ ${t('hot.title')} ` : ''}${waiting ? `(${waiting}) ` : ''}${t('app.title')}`;
  }, [waiting, hot, route.value]);
  const item = (to: string, name: string, icon: IconName, badge = 0, wide = true) => (
    <a href={to} class={wide ? 'wide' : ''} aria-current={page === (to.split('/')[2] ?? 'c') ? 'page' : undefined} aria-label={badge ? `${name}${t('comma')}${t('waiting.n', { n: badge })}` : name} title={name}>
      <Icon name={icon} />{badge > 0 && <span class="badge" aria-hidden="true">{badge > 99 ? '99+' : badge}</span>}
    </a>
  );
  return (
    <nav class="rail" aria-label={t('nav.label')}>
      <Logo />
      {item('/console', t('nav.conversations'), 'chat', waiting, false)}
      {opsPages.filter(mayOpen).map((p) => item(`/console/${p.path}`, t(p.name as Key), p.icon, 0, !p.narrow))}
      <span class="sp" />
      <button type="button" class="wide" aria-label={t('keys.title')} title={`${t('keys.title')} (?)`} onClick={() => document.dispatchEvent(new CustomEvent('kefu:keys'))}><Icon name="keys" /></button>
      <a href="/console/me" aria-current={page === 'me' ? 'page' : undefined} aria-label={`${me.value!.display}${t('comma')}${t('online')}`} onClick={(e) => (e.preventDefault(), go('/console/me'))}><span class="av sm c1" aria-hidden="true">{signOf(me.value!.display)}<span class="pres" /></span></a>
    </nav>
  );
}
