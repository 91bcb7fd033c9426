// Keepalive's clock. A browser slows the timers of a page in the background down to one a minute, which would
// miss keepalives; a worker's go on. The worker is a file of ours: the content security policy allows no other.

let worker = null;
let last = 0;
const jobs = new Map();

/** `url`: of worker.js. Without workers the page's own timers do, slowed or not. */
export function startTicker(url) {
  try {
    // A policy that makes no other URL, so that nothing else becomes a script.
    const policy = globalThis.trustedTypes?.createPolicy("gmqtt-worker", { createScriptURL: () => url });
    worker = new Worker(policy ? policy.createScriptURL("") : url);
    worker.onmessage = ({ data }) => jobs.get(data)?.();
    worker.onerror = () => (worker = null);
  } catch {
    worker = null;
  }
}

/** MQTT.js's `timerVariant`. */
export const ticker = {
  set(job, milliseconds) {
    if (!worker) return setInterval(job, milliseconds);
    const id = `worker-${++last}`;
    jobs.set(id, job);
    worker.postMessage({ id, milliseconds });
    return id;
  },
  clear(id) {
    if (!jobs.delete(id)) return clearInterval(id);
    worker?.postMessage({ id, milliseconds: 0 });
  },
};
