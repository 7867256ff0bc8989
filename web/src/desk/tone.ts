// A short tone when a follower waits in a one-minute window, for those who want it.
import { effect } from '@preact/signals';
import { listed } from '../core/desk';
import { setting } from '../core/session';

let audio: AudioContext | undefined;
let heard = new Set<string>();

function ring() {
  if (!navigator.userActivation.hasBeenActive) return; // browsers let no page sound before
  audio ??= new AudioContext();
  void audio.resume();
  const tone = audio.createOscillator(), volume = audio.createGain();
  tone.frequency.value = 880;
  volume.gain.setValueAtTime(0.15, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.4);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.4);
}

/** Rings when one comes to the top of the list; once for those that come together. */
export const listenForHot = () =>
  effect(() => {
    const now = listed.value.hot;
    const fresh = now.some((key) => !heard.has(key));
    heard = new Set(now);
    if (fresh && setting('sound', false)) ring();
  });
