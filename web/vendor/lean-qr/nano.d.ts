export interface Bitmap2D {
  /** the width and height in modules */
  readonly size: number;
  /** whether a module is on; outside it is off */
  get(x: number, y: number): boolean;
}
export function generate(data: string): Bitmap2D;
