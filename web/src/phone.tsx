import { render } from 'preact';
import { t } from './core/words';

render(<p>{t('app.title')}</p>, document.getElementById('app')!);
