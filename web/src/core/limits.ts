// What WeChat takes at most. The gateway holds it against each message; the page says it
// before somebody has written or uploaded too much.

/** Bytes of UTF-8 in a text. */
export const TEXT_BYTES = 2048;

/** Bytes of a file, by the kind it is sent as. */
export const MEDIA_BYTES = { image: 10 << 20, voice: 2 << 20, video: 10 << 20 };
