/** Names and paths are bytes; here they become text for messages. */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8')

/** A path as bytes. */
export const pathBytes = (path: string | Uint8Array): Uint8Array =>
  typeof path === 'string' ? encoder.encode(path) : path

/** A path or name for a message: control characters and what is not UTF-8 are shown as replacements. */
export const printable = (path: string | Uint8Array): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  decoder.decode(pathBytes(path)).replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd')
