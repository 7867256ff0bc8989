// What outlives a reload, by name, as JSON.

/** What the browser has no room for: it lives as long as the page. */
const inMemory = new Map<string, string>();

/** What was kept; undefined: nothing, or nothing that can be read. */
export function recall<T>(name: string, store = localStorage): T | undefined {
  try {
    return JSON.parse(inMemory.get(name) ?? store.getItem(name) ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a value in place of the one before; undefined: none. */
export function keep(name: string, value: unknown, store = localStorage) {
  inMemory.delete(name);
  if (value === undefined) return store.removeItem(name);
  const text = JSON.stringify(value);
  try {
    store.setItem(name, text);
  } catch {
    inMemory.set(name, text);
  }
}
