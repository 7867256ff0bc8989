import { useSignal } from '@preact/signals';
import { api } from '../core/api';
import { me, session, setSetting, setting, signOut } from '../core/session';
import { lang, setLang, t, type Key } from '../core/words';
import { Icon } from '../parts/icon';
import { tell, toast } from '../parts/overlay';
import type { Ops } from './pages';
import { QR } from './qr';

/** One's own settings: language, theme, keys, password, second factor. */
export function Me({ pages }: { pages: Ops[] }) {
  const theme = useSignal(localStorage.getItem('kefu.theme') ?? '');
  function setTheme(v: string) {
    theme.value = v;
    if (v) {
      localStorage.setItem('kefu.theme', v);
      document.documentElement.dataset['theme'] = v;
    } else {
      localStorage.removeItem('kefu.theme');
      delete document.documentElement.dataset['theme'];
    }
  }
  const toggle = (name: string, label: Key, otherwise: boolean) => (
    <p class="row set"><span id={`set-${name}`} class="grow">{t(label)}</span><button type="button" class="sw" role="switch" aria-checked={setting(name, otherwise)} aria-labelledby={`set-${name}`} onClick={() => void setSetting(name, !setting(name, otherwise)).catch(tell)} /></p>
  );
  return (
    <main class="page">
      <header class="bar"><h1>{me.value!.display}</h1><span class="tagc">{t(`role.${me.value!.role}` as Key)}</span><span class="grow" /><button type="button" class="btn" onClick={() => void signOut().catch(tell)}>{t('signout')}</button></header>
      <div class="settings">
        <nav class="tile onmob" aria-label={t('ops.pages')}><h2 class="t">{t('ops.pages')}</h2><ul>{pages.map((p) => <li key={p.path}><a href={`/console/${p.path}`}><Icon name={p.icon} />{t(p.name as Key)}</a></li>)}</ul></nav>
        <section class="tile"><h2 class="t">{t('settings.look')}</h2>
          <p class="row set"><span class="grow">{t('settings.lang')}</span><span class="seg"><button type="button" aria-pressed={lang.value === 'zh'} onClick={() => setLang('zh')}>中文</button><button type="button" aria-pressed={lang.value === 'en'} onClick={() => setLang('en')}>English</button></span></p>
          <p class="row set"><span class="grow">{t('settings.theme')}</span><span class="seg">{(['', 'light', 'dark'] as const).map((v) => <button key={v} type="button" aria-pressed={theme.value === v} onClick={() => setTheme(v)}>{t(`theme.${v || 'system'}` as Key)}</button>)}</span></p>
          {toggle('enterSends', 'settings.enter', true)}
          {toggle('singleKeys', 'settings.keys', true)}
          {toggle('sound', 'settings.sound', false)}
        </section>
        <Password />
        <Totp />
      </div>
    </main>
  );
}

function Password() {
  return (
    <section class="tile"><h2 class="t">{t('password.title')}</h2>
      <form onSubmit={async (e) => {
        e.preventDefault();
        const form = e.currentTarget;
        const f = new FormData(form);
        try {
          await api('/v1/session/password', { method: 'PUT', body: { old: f.get('old'), new: f.get('new') } });
          form.reset();
          toast('ok', t('password.done'));
        } catch (err) {
          tell(err);
        }
      }}>
        <Username />
        <label class="fl1">{t('password.old')}<input class="in" type="password" name="old" autocomplete="current-password" maxLength={256} /></label>
        <label class="fl1">{t('password.new')}<input class="in" type="password" name="new" autocomplete="new-password" minLength={10} maxLength={256} required /></label>
        <button class="btn" type="submit">{t('save')}</button>
      </form>
    </section>
  );
}

/** Whose password is asked for, for what keeps passwords. */
const Username = () => <input class="sr" name="username" autocomplete="username" value={me.value!.name ?? ''} readOnly tabIndex={-1} aria-hidden="true" />;

function Totp() {
  const offer = useSignal<{ secret: string; uri: string } | null>(null);
  const on = session.value!.agent.totp;
  async function run(call: () => Promise<unknown>, done: boolean) {
    try {
      await call();
      offer.value = null;
      const s = session.value!;
      session.value = { ...s, agent: { ...s.agent, totp: done } };
      toast('ok', t(done ? 'totp.on' : 'totp.off'));
    } catch (err) {
      tell(err);
    }
  }
  return (
    <section class="tile"><h2 class="t">{t('totp.title')}</h2>
      <p class="sub">{t(on ? 'totp.is.on' : 'totp.is.off')}</p>
      {!on && !offer.value && <button type="button" class="btn" onClick={() => void api<{ secret: string; uri: string }>('/v1/session/totp', { method: 'POST' }).then((o) => (offer.value = o)).catch(tell)}>{t('totp.begin')}</button>}
      {(on || offer.value) && (
        <form onSubmit={(e) => {
          e.preventDefault();
          const f = new FormData(e.currentTarget);
          void run(() => api('/v1/session/totp', on ? { method: 'DELETE', body: { code: f.get('code') } } : { method: 'PUT', body: { password: f.get('password'), code: f.get('code') } }), !on);
        }}>
          {offer.value && <><p>{t('totp.how')}</p><QR text={offer.value.uri} label={t('totp.qr')} /><pre class="wrap">{offer.value.secret}</pre><p><a href={offer.value.uri}>{t('totp.open')}</a></p></>}
          {!on && <><Username /><label class="fl1">{t('password.old')}<input class="in" type="password" name="password" autocomplete="current-password" maxLength={256} /></label></>}
          <label class="fl1">{t('signin.code')}<input class="in num" name="code" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxLength={6} required /></label>
          <button class="btn" type="submit">{t(on ? 'totp.end' : 'totp.confirm')}</button>
        </form>
      )}
    </section>
  );
}
