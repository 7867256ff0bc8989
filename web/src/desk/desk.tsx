import { useEffect } from 'preact/hooks';
import { keyOf, refresh } from '../core/desk';
import { parts } from '../core/route';
import { t } from '../core/words';
import { Card } from './card';
import { List } from './list';
import { Thread } from './thread';

type Pane = 'list' | 'thread' | 'card';

/** Three panes; where there is no room for all, Back goes from one to the other: the card
 * is an entry of the history on top of its thread's. */
export function Desk() {
  const [, account, openid] = parts();
  const open = account && openid ? keyOf(account, openid) : '';
  const show = (p: Pane) => (document.body.dataset['pane'] = p);
  const shown = () => show(!open ? 'list' : history.state?.card ? 'card' : 'thread');
  const pane = (p: Pane) => {
    if (p === 'card' && !history.state?.card && document.querySelector<HTMLElement>('.desk > .card')?.offsetParent === null) history.pushState({ card: true }, '');
    show(p);
  };
  const back = () => (history.state?.card ? history.back() : show('thread'));
  useEffect(() => {
    shown();
    if (open) refresh(account!, openid!);
    addEventListener('popstate', shown);
    return () => removeEventListener('popstate', shown);
  }, [open]);
  return (
    <main class="desk">
      <List current={open} />
      {open ? (
        <>
          <Thread key={open} account={account!} openid={openid!} pane={pane} />
          <Card key={open} account={account!} openid={openid!} onBack={back} />
        </>
      ) : (
        <>
          <section class="pane th" aria-label={t('thread.none')}><div class="empty"><b>{t('thread.none')}</b><p>{t('thread.none.why')}</p></div></section>
          <aside class="pane card" aria-label={t('card.label')} />
        </>
      )}
    </main>
  );
}
