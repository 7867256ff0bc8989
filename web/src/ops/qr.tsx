// A QR code, drawn in the page: what is in it goes nowhere.
import { generate } from 'lean-qr/nano';

const QUIET = 4; // modules around it, without which it can't be read

export function QR({ text, label }: { text: string; label: string }) {
  const code = generate(text);
  const whole = code.size + 2 * QUIET;
  let d = '';
  for (let y = 0; y < code.size; y++) for (let x = 0; x < code.size; x++) if (code.get(x, y)) d += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
  return <svg class="qrcode" viewBox={`0 0 ${whole} ${whole}`} role="img" aria-label={label} shape-rendering="crispEdges"><rect class="paper" width={whole} height={whole} /><path class="ink" d={d} /></svg>;
}
