// AMR, the format of WeChat's voice messages, made into something that browsers play.
import decode from '@audio/amr-decode';

export async function toWAV(amr: Uint8Array): Promise<Blob> {
  const { channelData, sampleRate } = await decode(amr);
  const samples = channelData[0] ?? new Float32Array();
  if (!samples.length) throw new Error('AMR');
  const out = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at: number, s: string) => [...s].forEach((c, i) => out.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF');
  out.setUint32(4, 36 + 2 * samples.length, true);
  text(8, 'WAVEfmt ');
  out.setUint32(16, 16, true);
  out.setUint16(20, 1, true);
  out.setUint16(22, 1, true);
  out.setUint32(24, sampleRate, true);
  out.setUint32(28, 2 * sampleRate, true);
  out.setUint16(32, 2, true);
  out.setUint16(34, 16, true);
  text(36, 'data');
  out.setUint32(40, 2 * samples.length, true);
  samples.forEach((s, i) => out.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, s)) * 32767, true));
  return new Blob([out.buffer], { type: 'audio/wav' });
}
