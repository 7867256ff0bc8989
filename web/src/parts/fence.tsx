import { Component, type ComponentChildren } from 'preact';
import { t } from '../core/words';

interface Props {
  of: unknown; // what is drawn: with another value it is tried again
  children: ComponentChildren;
  instead?: (why: string) => ComponentChildren;
}

/** Draws its children. If they can't be drawn it says so in their place, and everything
 * around them goes on. */
export class Fence extends Component<Props, { why: string }> {
  override state = { why: '' };
  again = () => this.setState({ why: '' });

  override componentDidCatch(e: unknown) {
    console.error(e);
    this.setState({ why: String(e) });
  }

  override componentDidUpdate(before: Props) {
    if (before.of !== this.props.of && this.state.why) this.again();
  }

  render() {
    const { why } = this.state;
    if (!why) return this.props.children;
    if (this.props.instead) return this.props.instead(why);
    return (
      <main class="page">
        <div class="empty" role="alert">
          <b>{t('draw.failed')}</b><p>{t('draw.safe')}</p><p class="lbl">{why}</p>
          <button type="button" class="btn pri" onClick={this.again}>{t('retry')}</button>
        </div>
      </main>
    );
  }
}
