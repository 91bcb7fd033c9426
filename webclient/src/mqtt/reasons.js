// Reason codes (MQTT 5.0, section 2.4) and the return codes of 3.1.1 (section 3.2.2.3). The words are in i18n.

/** CONNACK return codes of 3.1.1 as the reason codes that mean the same. */
const RETURN_CODES = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 };

// After these the same CONNECT would end the same way: a person has to change something.
const FINAL = new Set([
  0x80, 0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8a, 0x8c, 0x8e, 0x90, 0x95, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d,
]);

export function reasonOf(version, code) {
  return version === 5 ? code : (RETURN_CODES[code] ?? code);
}

/** Is it no use to try again? */
export function isFinal(code) {
  return FINAL.has(code);
}

/** "0x87", as the specification writes codes. */
export function hex(code) {
  return `0x${code.toString(16).padStart(2, "0").toUpperCase()}`;
}
