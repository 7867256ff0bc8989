import { useSignal } from '@preact/signals';
import { Problem } from './core/api';
import { signIn } from './core/session';
import { lang, setLang, t } from './core/words';
import { Icon } from './parts/icon';
import { Logo } from './parts/logo';

export function SignIn() {
  const trouble = useSignal('');
  const code = useSignal(false);
  const busy = useSignal(false);
  async function submit(e: Event) {
    e.preventDefault();
    if (busy.value) return;
    const f = new FormData(e.currentTarget as HTMLFormElement);
    busy.value = true;
    trouble.value = '';
    try {
      await signIn(String(f.get('name')), String(f.get('password')), code.value ? String(f.get('code')) : undefined);
    } catch (err) {
      if (err instanceof Problem && err.code === 'code-required') {
        code.value = true;
        requestAnimationFrame(() => document.getElementById('code')?.focus());
      } else trouble.value = err instanceof Problem ? [err.body['title'], err.body['detail']].filter(Boolean).join(t('sentence')) : err instanceof Error ? err.message : String(err);
    } finally {
      busy.value = false;
    }
  }
  return (
    <main class="login">
      <form class="tile" onSubmit={(e) => void submit(e)} aria-label={t('signin.title')}>
        <Logo />
        <h1>{t('app.title')}</h1>
        <label class="fl1">{t('signin.name')}<input class="in" name="name" autocomplete="username" required maxLength={64} autofocus /></label>
        <label class="fl1">{t('signin.password')}<input class="in" name="password" type="password" autocomplete="current-password" required maxLength={256} /></label>
        {code.value && <label class="fl1">{t('signin.code')}<input class="in num" id="code" name="code" inputMode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" maxLength={6} required /></label>}
        {trouble.value && <p class="advice ref" role="alert"><Icon name="cross" size="s" />{trouble.value}</p>}
        <button class="btn pri lg" type="submit" aria-disabled={busy.value}>{t('signin.go')}</button>
        <p class="lbl">{t('signin.help')}</p>
        <p class="lbl"><button type="button" class="lnk" onClick={() => setLang(lang.value === 'zh' ? 'en' : 'zh')}>{lang.value === 'zh' ? 'English' : '中文'}</button></p>
      </form>
    </main>
  );
}
