import { shapes, type IconName, type Shape } from './icons';

/** An icon, hidden from screen readers: a word or an aria-label stands beside it. */
export function Icon({ name, size = '' }: { name: IconName; size?: '' | 's' | 'xs' }) {
  return (
    <svg class={`i ${size}`} viewBox="0 0 20 20" aria-hidden="true">
      {(shapes[name] as readonly Shape[]).map(([Tag, attributes], i) => <Tag key={i} {...(attributes as object)} />)}
    </svg>
  );
}
