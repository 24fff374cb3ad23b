/**
 * Names in an image are bytes. As text they are UTF-8. Bytes that are not UTF-8 become `\xHH`. So
 * do characters that are unsafe on a terminal: control characters, and those that are invisible or
 * change the direction of text. A backslash stays, unless the text would then read as an escape:
 * then it becomes `\x5c`. So `unescapeBytes` returns exactly the same bytes.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu
const LAYOUT = /^[\n\t]$/
const LIKE_ESCAPE = /\\(?=x[0-9a-fA-F]{2})/g
const PLAIN = /^[ -~]*$/
const PLAIN_LINES = /^[\n\t -~]*$/

const encoder = new TextEncoder()
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const hexByte = (byte: number): string => `\\x${byte.toString(16).padStart(2, '0')}`

/** Text that represents `bytes` exactly and is safe on a terminal. */
export function escapeBytes(bytes: Uint8Array): string {
  try {
    return escapeText(strict.decode(bytes).replace(LIKE_ESCAPE, '\\x5c'))
  } catch {
    // Not UTF-8: find the valid parts.
  }
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    text += length > 0 ? escapeText(strict.decode(bytes.subarray(at, at + length))) : hexByte(bytes[at] as number)
    at += Math.max(1, length)
  }
  // A backslash and the text after it may come from different parts.
  return bytes.includes(0x5c) ? reescape(bytes) : text
}

/** As `escapeBytes`, byte by byte, with every backslash escaped. */
function reescape(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at)
    if (length === 0 || bytes[at] === 0x5c) text += hexByte(bytes[at] as number)
    else text += escapeText(strict.decode(bytes.subarray(at, at + length)))
    at += Math.max(1, length)
  }
  return text
}

/**
 * Text from other sources (messages that quote an image) made safe for a terminal. The output of
 * `escapeBytes` stays as it is.
 * has shown stays as it is.
 */
export function escapeText(text: string): string {
  if (PLAIN.test(text)) return text
  return text.replace(UNSAFE, (char) => Array.from(encoder.encode(char), hexByte).join(''))
}

/** As `escapeText`, for several lines: line feeds and tabs stay. */
export function escapeLines(text: string): string {
  if (PLAIN_LINES.test(text)) return text
  return text.replace(UNSAFE, (char) => (LAYOUT.test(char) ? char : escapeText(char)))
}

/** JSON text with these characters as `\uXXXX`; the line feeds between its tokens stay. */
export function escapeJson(json: string): string {
  if (PLAIN_LINES.test(json)) return json
  return json.replace(UNSAFE, (char) => (LAYOUT.test(char) ? char : utf16(char)))
}

const utf16 = (char: string): string =>
  Array.from({ length: char.length }, (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')

/** The bytes that `escapeBytes` represents this way: UTF-8, `\xHH` for any byte. */
export function unescapeBytes(text: string): Uint8Array {
  if (!text.includes('\\x')) return encoder.encode(text)
  const parts = text.split(/\\x([0-9a-fA-F]{2})/)
  return Uint8Array.from(
    parts.flatMap((part, i) => (i % 2 === 0 ? [...encoder.encode(part)] : [Number.parseInt(part, 16)])),
  )
}

/** Bytes of the UTF-8 character at `at`; 0 if it is not valid. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] as number
  const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  if (length <= 1) return length
  try {
    return strict.decode(bytes.subarray(at, at + length)) === '' ? 0 : at + length > bytes.length ? 0 : length
  } catch {
    return 0
  }
}
