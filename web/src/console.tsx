import { effect } from '@preact/signals';
import { render } from 'preact';
import { App } from './app';
import { lang, t } from './core/words';

effect(() => {
  document.documentElement.lang = lang.value === 'zh' ? 'zh-CN' : 'en';
});
effect(() => {
  const theme = localStorage.getItem('kefu.theme');
  if (theme) document.documentElement.dataset['theme'] = theme;
});
document.title = t('app.title');
render(<App />, document.getElementById('app')!);
