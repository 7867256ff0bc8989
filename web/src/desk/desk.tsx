import { useEffect } from 'preact/hooks';
import { keyOf, refresh } from '../core/desk';
import { parts } from '../core/route';
import { t } from '../core/words';
import { Card } from './card';
import { List } from './list';
import { Thread } from './thread';

/** Three panes; on a phone one of them, and Back goes from one to the other. */
export function Desk() {
  const [, account, openid] = parts();
  const open = account && openid ? keyOf(account, openid) : '';
  const pane = (p: 'list' | 'thread' | 'card') => (document.body.dataset['pane'] = p);
  useEffect(() => {
    pane(open ? 'thread' : 'list');
    if (open) refresh(account!, openid!);
  }, [open]);
  return (
    <main class="desk">
      <List current={open} />
      {open ? (
        <>
          <Thread key={open} account={account!} openid={openid!} pane={pane} />
          <Card key={open} account={account!} openid={openid!} onBack={() => pane('thread')} />
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
