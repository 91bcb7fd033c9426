// How long to wait before the next try.

const FIRST = 500; // milliseconds
const LONGEST = 15_000;

/** Milliseconds before try number `tries` (from 1), spread so that many pages do not return at once. */
export function backoff(tries, random = Math.random()) {
  const whole = Math.min(FIRST * 2 ** Math.min(tries - 1, 10), LONGEST);
  return Math.round(whole * (0.75 + random / 2));
}
