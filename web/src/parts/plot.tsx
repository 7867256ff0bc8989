import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { t } from '../core/words';

export interface Column { label: string; values: number[] }

/** A scale's top and step that are easy to read. */
function scale(most: number): { top: number; step: number } {
  const rough = Math.max(1, most) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 5, 10].map((x) => x * power).find((x) => x >= rough)!);
  return { top: Math.ceil(Math.max(1, most) / step) * step, step };
}

/** About as wide a label is drawn, px. */
const wide = (s: string) => [...s].reduce((n, c) => n + (c > '\u2e80' ? 12 : 6.5), 0);

/** Stacked columns over time; colours a1 to a5 of the style sheet. The same numbers
 * stand in a table behind a button. */
export function Plot({ title, names, colours, columns, height = 190 }: { title: string; names: string[]; colours: number[]; columns: Column[]; height?: number }) {
  const box = useRef<HTMLDivElement>(null);
  const width = useSignal(560);
  const table = useSignal(false);
  useEffect(() => {
    const o = new ResizeObserver(([e]) => (width.value = Math.max(200, Math.round(e!.contentRect.width))));
    o.observe(box.current!);
    return () => o.disconnect();
  }, []);
  const w = width.value, left = 44, bottom = 24, top = 8;
  const sum = (c: Column) => c.values.reduce((a, b) => a + b, 0);
  const { top: most, step } = scale(Math.max(0, ...columns.map(sum)));
  const y = (v: number) => top + (height - top - bottom) * (1 - v / most);
  const pitch = (w - left - 4) / Math.max(1, columns.length);
  const every = Math.ceil((14 + Math.max(0, ...columns.map((c) => wide(c.label)))) / pitch);
  const grid: number[] = [];
  for (let v = 0; v <= most; v += step) grid.push(v);
  const totals = names.map((n, i) => `${n} ${columns.reduce((a, c) => a + c.values[i]!, 0).toLocaleString()}`);
  return (
    <>
      <h2 class="t"><span>{title}</span><button type="button" class="btn sm quiet" aria-pressed={table.value} onClick={() => (table.value = !table.value)}>{t(table.value ? 'plot.plot' : 'plot.table')}</button></h2>
      <p class="legend" aria-hidden="true">{totals.map((n, i) => <span key={n}><svg viewBox="0 0 10 10" class="plot key"><rect class={`a${colours[i]}`} width="10" height="10" rx="2" /></svg>{n}</span>)}</p>
      <div ref={box}>
        {table.value ? (
          <div class="ptable" tabIndex={0} role="region" aria-label={title}><table class="plain"><thead><tr><th>{t('ops.col.time')}</th>{names.map((n) => <th key={n} class="r">{n}</th>)}</tr></thead>
            <tbody>{columns.map((c, i) => <tr key={i}><td>{c.label}</td>{c.values.map((v, j) => <td key={j} class="r num">{v}</td>)}</tr>)}</tbody></table></div>
        ) : (
          <svg class="plot" viewBox={`0 0 ${w} ${height}`} width={w} height={height} role="img" aria-label={[title, ...totals].join(t('comma'))}>
            {grid.map((v) => <g key={v}><path class="g" d={`M${left} ${y(v)}H${w - 4}`} /><text x={left - 8} y={y(v) + 4} text-anchor="end">{v >= 10_000 ? `${v / 1000}k` : v}</text></g>)}
            {columns.map((c, i) => {
              let at = 0;
              return (
                <g key={i}><title>{c.label}: {names.map((n, j) => `${n} ${c.values[j]}`).join(', ')}</title>
                  {c.values.map((v, j) => {
                    const from = at;
                    at += v;
                    return v > 0 && <rect key={j} class={`a${colours[j]}`} x={left + i * pitch + pitch * 0.14} width={pitch * 0.72} y={y(at)} height={Math.max(1.5, y(from) - y(at))} />;
                  })}
                  {i % every === 0 && left + (i + 0.5) * pitch + wide(c.label) / 2 <= w && <text x={left + (i + 0.5) * pitch} y={height - 6} text-anchor="middle">{c.label}</text>}
                </g>
              );
            })}
          </svg>
        )}
      </div>
    </>
  );
}
