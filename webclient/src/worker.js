// The other side of mqtt/ticker.js: intervals that go on in the background.

const intervals = new Map();

onmessage = ({ data: { id, milliseconds } }) => {
  clearInterval(intervals.get(id));
  if (milliseconds) intervals.set(id, setInterval(() => postMessage(id), milliseconds));
  else intervals.delete(id);
};
