// The newest rows, bounded in number and in bytes. What has to make room is counted.

const ROW_COST = 200; // bytes a row takes beside topic and payload, about

export class Ring {
  #rows = [];
  #head = 0;

  constructor(mostRows, mostBytes) {
    this.mostRows = mostRows;
    this.mostBytes = mostBytes;
    this.bytes = 0;
    this.leftOut = 0;
  }

  get length() {
    return this.#rows.length - this.#head;
  }

  get oldest() {
    return this.#rows[this.#head];
  }

  /** The newest row always stays, however large. */
  push(row) {
    this.#rows.push(row);
    this.bytes += cost(row);
    while (this.length > 1 && (this.length > this.mostRows || this.bytes > this.mostBytes)) this.#shift();
  }

  resize(mostRows) {
    this.mostRows = mostRows;
    while (this.length > mostRows) this.#shift();
  }

  clear() {
    this.#rows = [];
    this.#head = 0;
    this.bytes = this.leftOut = 0;
  }

  *[Symbol.iterator]() {
    for (let index = this.#head; index < this.#rows.length; index += 1) yield this.#rows[index];
  }

  #shift() {
    this.bytes -= cost(this.#rows[this.#head]);
    this.#rows[this.#head] = undefined;
    this.#head += 1;
    this.leftOut += 1;
    if (this.#head > 1024 && this.#head * 2 > this.#rows.length) {
      this.#rows = this.#rows.slice(this.#head);
      this.#head = 0;
    }
  }
}

function cost(row) {
  return ROW_COST + row.topic.length * 2 + row.payload.length;
}
